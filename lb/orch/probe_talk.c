#include "orch/probe_talk.h"

#include "http/fcgi_codec.h"
#include "http/h1_parse.h"
#include "http/h1_write.h"
#include "orch/probe_h2.h"

#define PROBE_FIELDS 128

static struct str or_default(const char *text, struct str def)
{
    return text && *text ? str_of(text) : def;
}

static void put_http(struct writer *w, const struct probe_settings *s)
{
    writer_str(w, STR("GET "));
    writer_str(w, or_default(s->path, STR("/")));
    writer_str(w, STR(" HTTP/1.1\r\n"));
    writer_field(w, STR("Host"), or_default(s->host, STR("probe.coxswain")));
    writer_field(w, STR("User-Agent"), STR("coxswain-probe"));
    writer_str(w, STR("Connection: close\r\n\r\n"));
}

/* The fewest variables that php-fpm wants: SCRIPT_NAME picks ping.path, SCRIPT_FILENAME must not be empty. */
static void put_fastcgi(struct writer *w, const struct probe_settings *s)
{
    char bytes[PROBE_REQUEST_MAX];
    struct writer params;
    const struct str path = or_default(s->path, STR("/ping"));
    writer_init(&params, bytes, sizeof bytes);
    fcgi_put_param(&params, STR("GATEWAY_INTERFACE"), STR("CGI/1.1"));
    fcgi_put_param(&params, STR("SERVER_SOFTWARE"), STR("coxswain-probe"));
    fcgi_put_param(&params, STR("SERVER_PROTOCOL"), STR("HTTP/1.1"));
    fcgi_put_param(&params, STR("REQUEST_METHOD"), STR("GET"));
    fcgi_put_param(&params, STR("REQUEST_URI"), path);
    fcgi_put_param(&params, STR("SCRIPT_NAME"), path);
    fcgi_put_param(&params, STR("SCRIPT_FILENAME"), path);
    fcgi_put_param(&params, STR("QUERY_STRING"), STR(""));
    fcgi_put_param(&params, STR("SERVER_NAME"), or_default(s->host, STR("probe.coxswain")));
    fcgi_put_begin(w, false);
    fcgi_put_params(w, str_make(params.p, params.len));
    fcgi_put_header(w, FCGI_STDIN, 0);
    w->overflow |= params.overflow;
}

size_t probe_request(const struct probe_settings *s, char *to, size_t cap)
{
    struct writer w;
    if (s->kind == PROBE_H2 || s->kind == PROBE_GRPC)
        return probe_h2_request(s, to, cap);
    writer_init(&w, to, cap);
    if (s->kind == PROBE_HTTP)
        put_http(&w, s);
    else if (s->kind == PROBE_FASTCGI)
        put_fastcgi(&w, s);
    return w.overflow ? 0 : w.len;
}

static enum probe_verdict judge_status(const struct probe_settings *s, unsigned status, const char **out_why)
{
    *out_why = "status out of range";
    return status >= s->status_min && status <= s->status_max ? PROBE_GOOD : PROBE_BAD;
}

static enum probe_verdict more_or_bad(bool is_end, const char **out_why)
{
    *out_why = "closed before its answer";
    return is_end ? PROBE_BAD : PROBE_MORE;
}

static const struct h1_limits limits = {
    .line_bytes = 4096, .head_bytes = PROBE_ANSWER_MAX, .field_count = PROBE_FIELDS};

static enum probe_verdict judge_http(const struct probe_settings *s, struct str answer, bool is_end,
                                     const char **out_why)
{
    for (;;) {
        struct field fields[PROBE_FIELDS];
        struct h1_parser parser = {0};
        struct message m;
        message_init(&m, fields, PROBE_FIELDS);
        const int n = h1_parse_response(&parser, answer.p, answer.n, &limits, METHOD_GET, &m);
        *out_why = "malformed answer";
        if (n < 0)
            return PROBE_BAD;
        if (n == H1_MORE)
            return more_or_bad(is_end, out_why);
        if (m.status >= 200)
            return judge_status(s, m.status, out_why);
        answer =
            str_make(answer.p + n, answer.n - (size_t)n); /* an interim answer comes before the final one */
    }
}

/* The CGI head may lie over several records: it is put together first. Bounded by the answer itself. */
static enum probe_verdict judge_cgi(const struct probe_settings *s, struct str head, bool is_end,
                                    const char **out_why)
{
    struct field fields[PROBE_FIELDS];
    struct h1_parser parser = {0};
    struct message m;
    message_init(&m, fields, PROBE_FIELDS);
    const int n = h1_parse_fields(&parser, head.p, head.n, &limits, true, &m);
    *out_why = "malformed answer";
    if (n < 0)
        return PROBE_BAD;
    if (n == H1_MORE)
        return more_or_bad(is_end, out_why);
    for (uint16_t i = 0; i < m.field_count; i++) {
        uint64_t status = 0;
        const struct str value = field_value_of(&m, &m.fields[i]);
        if (!str_ieq(field_name_of(&m, &m.fields[i]), STR("Status")))
            continue;
        if (value.n < 3 || !str_to_u64(str_make(value.p, 3), &status))
            return PROBE_BAD;
        return judge_status(s, (unsigned)status, out_why);
    }
    return judge_status(s, 200, out_why);
}

static enum probe_verdict judge_fastcgi(const struct probe_settings *s, struct str answer, bool is_end,
                                        const char **out_why)
{
    struct fcgi_decoder d = {0};
    char head[PROBE_ANSWER_MAX];
    size_t head_len = 0;
    for (size_t at = 0; at < answer.n;) {
        struct fcgi_event e = {0};
        const size_t used = fcgi_decode(&d, answer.p + at, answer.n - at, &e);
        at += used;
        if (e.kind == FCGI_EVENT_ERROR) {
            *out_why = "broken FastCGI";
            return PROBE_BAD;
        }
        if (e.kind == FCGI_EVENT_STDOUT && e.data.n <= sizeof head - head_len) {
            memcpy(head + head_len, e.data.p, e.data.n);
            head_len += e.data.n;
        }
        if (e.kind == FCGI_EVENT_END) {
            *out_why = "FastCGI server refuses";
            if (e.protocol_status != FCGI_REQUEST_COMPLETE)
                return PROBE_BAD;
            is_end = true;
            break;
        }
        if (e.kind == FCGI_EVENT_MORE && used == 0)
            break;
    }
    return judge_cgi(s, str_make(head, head_len), is_end, out_why);
}

enum probe_verdict probe_judge(const struct probe_settings *s, struct str answer, bool is_end,
                               const char **out_why)
{
    *out_why = "";
    if (s->kind == PROBE_HTTP)
        return judge_http(s, answer, is_end, out_why);
    if (s->kind == PROBE_FASTCGI)
        return judge_fastcgi(s, answer, is_end, out_why);
    if (s->kind == PROBE_H2 || s->kind == PROBE_GRPC)
        return probe_h2_judge(s, answer, is_end, out_why);
    return PROBE_GOOD;
}
