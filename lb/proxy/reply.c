#include "proxy/reply.h"

#include <stdio.h>

#include "base/panic.h"
#include "proxy/change.h"
#include "proxy/exchange_priv.h"
#include "proxy/guard.h"
#include "proxy/proxy.h"
#include "proxy/reply_grpc.h"

#define REPLY_HEAD_BYTES 512
#define REPLY_FIELDS_MAX 8

void reply_field(struct message *m, struct writer *w, struct str name, struct str value)
{
    if (m->field_count == m->field_max || w->cap - w->len < name.n + value.n) {
        w->overflow = true;
        return;
    }
    struct field *f = &m->fields[m->field_count++];
    *f = (struct field){
        .name = (uint32_t)w->len, .name_len = (uint16_t)name.n, .id = (uint8_t)field_lookup(name)};
    writer_str(w, name);
    f->value = (uint32_t)w->len;
    f->value_len = (uint32_t)value.n;
    writer_str(w, value);
    m->base = w->p;
    m->present |= 1ull << f->id;
}

#define REASON_FIELD STR("X-Coxswain-Reason")

void reply_hide_reason(struct message *m)
{
    for (uint16_t i = 0; i < m->field_count; i++)
        if (m->fields[i].id == FIELD_OTHER && str_ieq(field_name_of(m, &m->fields[i]), REASON_FIELD))
            m->fields[i].flags |= FIELD_FLAG_DROP;
}

/* Seconds; 0: none is sent. */
static uint64_t retry_after_of(const struct exchange *x, uint16_t status)
{
    if (x->pass && x->pass->retry_after_s)
        return x->pass->retry_after_s;
    if (status != 503 || x->reason == REASON_MAINTENANCE)
        return 0;
    return x->opt ? x->opt->retry_after_s : 5;
}

static void put_special(struct exchange *x, uint16_t status, struct message *m, struct writer *w)
{
    char text[24];
    uint64_t after = retry_after_of(x, status);
    if (after) {
        int n = snprintf(text, sizeof text, "%llu", (unsigned long long)after);
        reply_field(m, w, STR("Retry-After"), str_make(text, (size_t)n));
    }
    if (status == 405)
        reply_field(m, w, STR("Allow"), STR("GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"));
}

/* Lines that its guard wants in the answer; room for them is there. */
static void put_lines(struct str lines, struct message *m, struct writer *w)
{
    struct str line;
    while (lines.n && str_next(&lines, '\n', &line)) {
        ptrdiff_t colon = str_find(line, ':');
        struct str value = colon > 0 ? str_make(line.p + colon + 1, line.n - (size_t)colon - 1) : STR_NULL;
        if (value.n && value.p[value.n - 1] == '\r')
            value.n--;
        if (colon > 0)
            reply_field(m, w, str_make(line.p, (size_t)colon), str_trim(value));
    }
}

static void send_head_and_body(struct exchange *x, struct message *m, struct str body)
{
    m->version = 11;
    bool has_body = x->req.method != METHOD_HEAD && !ROUTE_IS_BODILESS(m->status);
    m->framing = has_body ? BODY_LENGTH : BODY_NONE;
    m->content_length = body.n;
    m->flags = MSG_HAS_LENGTH;
    x->status = m->status;
    x->pick_ns = 0; /* whatever a server did is not the service of this answer */
    exchange_set_state(x, EXCHANGE_RELAY);
    x->head_forwarded = true;
    pipe_forget(&x->req_body);
    if (!change_answer(x, m) || !x->front->head(x, m)) {
        exchange_finish(x, true);
        return;
    }
    if (m->framing == BODY_LENGTH && body.n)
        exchange_response_data(x, body.p, body.n, true);
    exchange_response_end(x, NULL);
}

/* type may be empty. extra: field lines, or empty. */
static void reply_body(struct exchange *x, uint16_t status, struct str type, struct str body,
                       struct str extra)
{
    char head[REPLY_HEAD_BYTES], *text = head;
    struct field few[REPLY_FIELDS_MAX], *fields = few;
    struct message m;
    struct writer w;
    size_t count = REPLY_FIELDS_MAX, bytes = sizeof head;
    for (size_t i = 0; i < extra.n; i++)
        count += extra.p[i] == '\n';
    if (extra.n || type.n > sizeof head / 4) {
        bytes += extra.n + type.n;
        text = arena_alloc(&x->arena, bytes);
        fields = arena_alloc(&x->arena, count * sizeof *fields);
    }
    if (!text || !fields) {
        exchange_finish(x, true);
        return;
    }
    message_init(&m, fields, (uint16_t)count);
    writer_init(&w, text, bytes);
    reply_field(&m, &w, STR("Date"), pworker_http_date(x->pw));
    if (type.n && !ROUTE_IS_BODILESS(status))
        reply_field(&m, &w, STR("Content-Type"), type);
    reply_field(&m, &w, STR("Cache-Control"), STR("no-store"));
    put_special(x, status, &m, &w);
    if (x->pw->settings->reason_header && x->reason)
        reply_field(&m, &w, REASON_FIELD, str_of(reason_id((enum reason)x->reason)));
    put_lines(extra, &m, &w);
    ASSERT(!w.overflow);
    m.base = text;
    m.head_len = (uint32_t)w.len;
    m.status = status;
    send_head_and_body(x, &m, body);
}

void reply_send(struct exchange *x, uint16_t status)
{
    char body[64];
    if (reply_is_grpc(x)) {
        reply_grpc(x, x->pass && x->pass->status ? x->pass->status : status);
        return;
    }
    if (x->pass && x->pass->status)
        status = x->pass->status; /* an external server's own no */
    const struct page_settings *page = guard_page(x, status);
    struct str extra = x->pass ? x->pass->fields : STR_NULL;
    if (page) {
        reply_body(x, status, str_of(page->type), page->body, extra);
        return;
    }
    struct str phrase = status_phrase(status);
    int n = snprintf(body, sizeof body, "%u %.*s\n", status, STR_ARG(phrase));
    reply_body(x, status, STR("text/plain; charset=utf-8"), str_make(body, (size_t)n), extra);
}

void reply_page(struct exchange *x, const struct reply_page *page)
{
    struct str extra = STR_NULL;
    if (page->location.n) {
        size_t bytes = page->location.n + 16;
        struct writer w;
        char *line = arena_alloc(&x->arena, bytes);
        if (!line) {
            exchange_finish(x, true);
            return;
        }
        writer_init(&w, line, bytes);
        writer_field(&w, STR("Location"), page->location);
        extra = str_make(line, w.len);
    }
    reply_body(x, page->status, page->content_type, page->body, extra);
}

void reply_text(struct exchange *x, uint16_t status, struct str text)
{
    reply_body(x, status, STR("text/plain; charset=utf-8"), text, STR_NULL);
}

/* Draining after a reload is no reason to fail: others of us serve. Draining for good is. */
static bool is_ready(const struct exchange *x)
{
    return x->pw->view && !x->pw->drain_final &&
           !atomic_load_explicit(&x->pw->proxy->fail_ready, memory_order_relaxed);
}

bool reply_probe(struct exchange *x)
{
    struct str path = message_str(&x->req, x->req.path);
    bool is_ready_path = str_eq(path, STR("/readyz"));
    if (!x->session->listener->probes || (!is_ready_path && !str_eq(path, STR("/healthz"))))
        return false;
    if (x->req.method != METHOD_GET && x->req.method != METHOD_HEAD)
        return false;
    if (is_ready_path && !is_ready(x))
        reply_text(x, 503, STR("not ready\n"));
    else
        reply_text(x, 200, STR("ok\n"));
    return true;
}
