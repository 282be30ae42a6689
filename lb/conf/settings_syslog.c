/* Logs that go to a syslog server: "syslog", "syslog:unix:/path", "syslog:10.0.0.5:514". */
#include "conf/address.h"
#include "conf/settings_check.h"

#define LOCAL_SOCKET STR("unix:/dev/log")

struct str settings_syslog_address(const char *log)
{
    struct str text = str_of(log), scheme = STR("syslog:");
    if (str_eq(text, STR("syslog")))
        return LOCAL_SOCKET;
    return str_starts(text, scheme) ? str_make(text.p + scheme.n, text.n - scheme.n) : STR_NULL;
}

int settings_syslog_facility(const struct settings *s)
{
    /* RFC 5424 6.2.1, in the order of the option's words */
    static const int numbers[] = {1, 3, 4, 10, 16, 17, 18, 19, 20, 21, 22, 23};
    return numbers[s->log.syslog_facility];
}

static void check_one(struct reader *r, char *const *log)
{
    if (!*log || !str_starts(str_of(*log), STR("syslog:")))
        return;
    struct str address = settings_syslog_address(*log);
    if (!address_is_valid(address))
        reader_error(r, log, "\"%s\": expected \"syslog\", \"syslog:unix:/path\" or \"syslog:10.0.0.5:514\"",
                     *log);
}

void settings_check_syslog(const struct settings *s, struct reader *r)
{
    check_one(r, &s->log.file);
    check_one(r, &s->log.access);
}
