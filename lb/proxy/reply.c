#include "proxy/reply.h"

#include <stdio.h>

#include "base/panic.h"
#include "proxy/exchange_priv.h"
#include "proxy/proxy.h"

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

static void put_special(struct exchange *x, uint16_t status, struct message *m, struct writer *w)
{
    char text[24];
    if (status == 503) {
        uint64_t after = x->opt ? x->opt->retry_after_s : 5;
        int n = snprintf(text, sizeof text, "%llu", (unsigned long long)after);
        reply_field(m, w, STR("Retry-After"), str_make(text, (size_t)n));
    }
    if (status == 405)
        reply_field(m, w, STR("Allow"), STR("GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"));
}

void reply_send(struct exchange *x, uint16_t status)
{
    char body[64];
    struct str phrase = status_phrase(status);
    int n = snprintf(body, sizeof body, "%u %.*s\n", status, STR_ARG(phrase));
    reply_text(x, status, str_make(body, (size_t)n));
}

void reply_text(struct exchange *x, uint16_t status, struct str text)
{
    char head[REPLY_HEAD_BYTES];
    struct field fields[REPLY_FIELDS_MAX];
    struct message m;
    struct writer w;
    message_init(&m, fields, REPLY_FIELDS_MAX);
    writer_init(&w, head, sizeof head);
    reply_field(&m, &w, STR("Date"), pworker_http_date(x->pw));
    reply_field(&m, &w, STR("Content-Type"), STR("text/plain; charset=utf-8"));
    reply_field(&m, &w, STR("Cache-Control"), STR("no-store"));
    put_special(x, status, &m, &w);
    if (x->pw->settings->reason_header && x->reason)
        reply_field(&m, &w, REASON_FIELD, str_of(reason_id((enum reason)x->reason)));
    ASSERT(!w.overflow);
    m.base = head;
    m.status = x->status = status;
    m.version = 11;
    m.framing = x->req.method == METHOD_HEAD ? BODY_NONE : BODY_LENGTH;
    m.content_length = text.n;
    m.flags = MSG_HAS_LENGTH;
    x->pick_ns = 0; /* whatever a server did is not the service of this answer */
    exchange_set_state(x, EXCHANGE_RELAY);
    x->head_forwarded = true;
    pipe_forget(&x->req_body);
    if (!x->front->head(x, &m)) {
        exchange_finish(x, true);
        return;
    }
    if (m.framing == BODY_LENGTH)
        exchange_response_data(x, text.p, text.n, true);
    exchange_response_end(x, NULL);
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
