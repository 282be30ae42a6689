/* Any bytes as a config file: never a crash, never a leak; and either settings or a reason, not both. */
#include <stddef.h>
#include <stdint.h>

#include "base/panic.h"
#include "conf/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 forgets a string that stands before a syntax error; a config is checked in a child that ends.
 */
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig\n";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf errors;
    buf_init(&errors);
    struct settings *s = settings_load_text((const char *)data, size, &errors);
    ASSERT((s == NULL) == (errors.len > 0));
    settings_free(&s);
    buf_fini(&errors);
    return 0;
}
