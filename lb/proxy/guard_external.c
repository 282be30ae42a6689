/* External authentication: before a request is passed on, another server is asked about it. The question is
 * an exchange of its own, with a front that keeps the head of the answer and throws the rest away; so it is
 * balanced, retried, probed and counted as every request to that cluster is. It has no guard and no line in
 * the access log. */
#include "base/log.h"
#include "base/panic.h"
#include "http/h1_parse.h"
#include "http/rules.h"
#include "proxy/exchange_priv.h"
#include "proxy/guard.h"
#include "proxy/proxy.h"

#define ANSWER_FIELDS_MAX 16384u /* bytes of fields that are copied from one answer */
#define QUESTION_EXTRA    1024u

/* ---- the front that listens ---- */

static bool quiet_interim(struct exchange *q, struct message *m)
{
    (void)q;
    (void)m;
    return true;
}

/* All fields with one of these names, as lines in the arena of the exchange that asks. False: they do not
 * fit. */
static bool take_fields(struct exchange *x, const struct message *m, const struct strings *names,
                        struct str *out_fields)
{
    size_t room = 0;
    for (uint16_t i = 0; i < m->field_count; i++)
        room += m->fields[i].name_len + m->fields[i].value_len + 4u;
    if (room > ANSWER_FIELDS_MAX)
        room = ANSWER_FIELDS_MAX;
    char *text = arena_alloc(&x->arena, room + 1);
    struct writer w;
    writer_init(&w, text, text ? room : 0);
    for (size_t n = 0; n < names->n; n++)
        for (uint16_t i = 0; i < m->field_count; i++)
            if (str_ieq(field_name_of(m, &m->fields[i]), str_of(names->v[n]))) {
                writer_str(&w, str_of(names->v[n]));
                writer_str(&w, STR(": "));
                writer_str(&w, field_value_of(m, &m->fields[i]));
                writer_str(&w, STR("\r\n"));
            }
    *out_fields = w.overflow ? STR_NULL : str_make(w.p, w.len);
    return text && !w.overflow;
}

static bool is_no(uint16_t status)
{
    return status == 401 || status == 403 || (status >= 301 && status <= 303) || status == 307 ||
           status == 308;
}

/* The first copied field whose name ends so is whom the access log names. */
static void find_user(struct guard_pass *pass)
{
    struct str rest = pass->yes_fields, line;
    while (!pass->user.n && rest.n && str_next(&rest, '\n', &line)) {
        ptrdiff_t colon = str_find(line, ':');
        if (colon < 4 || !str_ieq(str_make(line.p + colon - 4, 4), STR("user")))
            continue;
        pass->user = str_make(line.p + colon + 1, line.n - (size_t)colon - 1);
        while (pass->user.n &&
               (pass->user.p[pass->user.n - 1] == '\r' || pass->user.p[pass->user.n - 1] == ' '))
            pass->user.n--;
        pass->user = str_trim(pass->user);
    }
}

static bool quiet_head(struct exchange *q, struct message *m)
{
    struct exchange *x = q->front_state;
    if (!x)
        return false; /* given up */
    struct guard_pass *pass = x->pass;
    const struct external_settings *e = &pass->guards[pass->at]->set->external;
    pass->answer_status = q->reason ? 0 : m->status; /* a reply of our own is no answer */
    if (pass->answer_status / 100 == 2) {
        if (!take_fields(x, m, &e->copy, &pass->yes_fields))
            pass->answer_status = 0; /* a yes without saying who is none */
    } else if (pass->answer_status && is_no(m->status)) {
        (void)take_fields(x, m, &e->answer, &pass->fields);
    }
    if (pass->answer_status / 100 == 2)
        find_user(pass);
    pass->is_answered = true; /* what follows of it is only waited for if it comes at once */
    run_queue_add(&x->pw->w, &pass->resume);
    return true;
}

static ssize_t quiet_data(struct exchange *q, const char *p, size_t n, bool last)
{
    (void)q;
    (void)p;
    (void)last;
    return (ssize_t)n;
}

static bool quiet_end(struct exchange *q, struct message *trailers)
{
    (void)q;
    (void)trailers;
    return true;
}

static bool quiet_is_flushed(struct exchange *q)
{
    (void)q;
    return true;
}

static void quiet_again(struct exchange *q)
{
    (void)q; /* it takes everything at once */
}

/* Not here: whoever ends the question is deep in its own business. */
static void quiet_done(struct exchange *q, bool cut)
{
    struct exchange *x = q->front_state;
    (void)cut; /* the head is what counts */
    if (!x)
        return;
    x->pass->asking = NULL;
    x->pass->is_answered = true;
    run_queue_add(&x->pw->w, &x->pass->resume);
}

static const struct front_ops front_quiet = {
    .name = "quiet",
    .interim = quiet_interim,
    .head = quiet_head,
    .data = quiet_data,
    .end = quiet_end,
    .is_flushed = quiet_is_flushed,
    .again = quiet_again,
    .want_request = quiet_again,
    .tunnel = quiet_again,
    .done = quiet_done,
};

/* ---- the question ---- */

/* What the answer to it must not depend on, or belongs to a body that is not sent. */
static bool is_asked(const struct message *m, const struct field *f)
{
    const uint64_t never = 1ull << FIELD_HOST | 1ull << FIELD_CONNECTION | 1ull << FIELD_CONTENT_LENGTH |
                           1ull << FIELD_TRANSFER_ENCODING | 1ull << FIELD_CONTENT_TYPE |
                           1ull << FIELD_EXPECT | 1ull << FIELD_UPGRADE | 1ull << FIELD_KEEP_ALIVE |
                           1ull << FIELD_TE | 1ull << FIELD_TRAILER | 1ull << FIELD_RANGE |
                           1ull << FIELD_IF_RANGE | 1ull << FIELD_IF_MATCH | 1ull << FIELD_IF_NONE_MATCH |
                           1ull << FIELD_IF_MODIFIED_SINCE | 1ull << FIELD_IF_UNMODIFIED_SINCE |
                           1ull << FIELD_CONTENT_ENCODING | 1ull << FIELD_CONTENT_RANGE;
    struct str name = field_name_of(m, f);
    return !(f->flags & FIELD_FLAG_DROP) && !(never >> f->id & 1 && f->id) &&
           !guard_same_name(name, STR("X-Forwarded-Method")) &&
           !guard_same_name(name, STR("X-Forwarded-Uri")) && !str_ieq(name, STR("Accept-Encoding"));
}

static void put_question(const struct exchange *x, const struct external_settings *e, struct writer *w)
{
    const struct message *m = &x->req;
    writer_str(w, STR("GET "));
    writer_str(w, str_of(e->path));
    writer_str(w, STR(" HTTP/1.1\r\n"));
    writer_field(w, STR("Host"), m->authority.len ? message_str(m, m->authority) : STR("localhost"));
    for (uint16_t i = 0; i < m->field_count; i++)
        if (is_asked(m, &m->fields[i]))
            writer_field(w, field_name_of(m, &m->fields[i]), field_value_of(m, &m->fields[i]));
    writer_str(w, x->own_fields);
    writer_field(w, STR("X-Forwarded-Method"), message_str(m, m->method_text));
    writer_field(w, STR("X-Forwarded-Uri"), rules_target(m));
    writer_str(w, STR("\r\n"));
}

/* Parsed as what a client sends is, so that nothing can be in it that a client could not send. */
static bool make_question(const struct exchange *x, const struct external_settings *e, struct exchange *q)
{
    struct h1_parser parser = {0};
    struct writer w;
    uint16_t fields = (uint16_t)(x->req.field_count + 16);
    size_t cap = (size_t)x->req.head_len * 2 + x->own_fields.n + strlen(e->path) + QUESTION_EXTRA;
    char *text = arena_alloc(&q->arena, cap);
    struct field *array = arena_alloc(&q->arena, fields * sizeof *array);
    if (!text || !array)
        return false;
    writer_init(&w, text, cap);
    put_question(x, e, &w);
    if (w.overflow)
        return false;
    struct h1_limits limits = {(uint32_t)cap, (uint32_t)cap, fields};
    message_init(&q->req, array, fields);
    q->req.base = text;
    int got = h1_parse_request(&parser, text, w.len, &limits, &q->req);
    if (got != (int)w.len)
        return false;
    q->req.head_len = (uint32_t)got;
    q->req.flags |= x->req.flags & MSG_SECURE;
    return rules_normalise_path(&q->req, &q->arena, false) == REASON_OK;
}

static void give_up(struct guard_pass *pass)
{
    struct exchange *q = pass->asking;
    if (!q)
        return;
    pass->asking = NULL;
    q->front_state = NULL;
    exchange_reply(q, REASON_CLIENT_GONE);
}

static void on_timeout(struct deadline *d)
{
    struct exchange *x = CONTAINER_OF(d, struct exchange, deadline);
    struct worker *w = &x->pw->w;
    x->pass->is_answered = true; /* its status is still 0: neither yes nor no */
    run_queue_add(w, &x->pass->resume);
}

static enum guard_step begin(struct exchange *x, const struct external_settings *e)
{
    struct pworker *pw = x->pw;
    struct guard_pass *pass = x->pass;
    struct cluster *c =
        pw->view ? (struct cluster *)(uintptr_t)topology_cluster(pw->view->topology, str_of(e->cluster))
                 : NULL;
    struct exchange *q = c ? exchange_create(pw, x->session, &front_quiet) : NULL;
    pass->answer_status = 0;
    pass->is_answered = true; /* unless it goes on its way */
    if (!q)
        return GUARD_NEXT;
    q->front_state = x;
    q->client_ip = x->client_ip;
    q->request_id = x->request_id;
    q->request_ended = q->is_question = true;
    if (!make_question(x, e, q)) {
        q->front_state = NULL;
        exchange_reply(q, REASON_CLIENT_GONE);
        return GUARD_NEXT;
    }
    pass->is_answered = false;
    pass->asking = q;
    deadline_init(&x->deadline, on_timeout);
    worker_deadline(&pw->w, &x->deadline, e->timeout_ms);
    exchange_start_in(q, c);
    if (pass->asking == q && q->state != EXCHANGE_DONE)
        exchange_request_end(q, NULL);
    return GUARD_WAIT; /* even when it is over already: the run queue has it then */
}

/* ---- the answer ---- */

static bool set_fields(struct exchange *x, const struct strings *names)
{
    struct guard_pass *pass = x->pass;
    for (size_t i = 0; i < names->n; i++)
        guard_drop_fields(&x->req, str_of(names->v[i]));
    if (!pass->yes_fields.n)
        return true;
    struct writer w;
    size_t cap = x->own_fields.n + pass->yes_fields.n;
    char *text = arena_alloc(&x->arena, cap);
    writer_init(&w, text, text ? cap : 0);
    writer_str(&w, x->own_fields);
    writer_str(&w, pass->yes_fields);
    if (w.overflow)
        return false;
    x->own_fields = str_make(w.p, w.len);
    return true;
}

void guard_drop_claims(const struct guard_pass *pass, struct message *trailers)
{
    for (int i = 0; i < pass->count; i++) {
        const struct external_settings *e = &pass->guards[i]->set->external;
        for (size_t k = 0; e->cluster && k < e->copy.n; k++)
            guard_drop_fields(trailers, str_of(e->copy.v[k]));
    }
}

enum guard_step guard_external(struct exchange *x, struct guard *g)
{
    const struct external_settings *e = &g->set->external;
    struct guard_pass *pass = x->pass;
    if (!e->cluster)
        return GUARD_NEXT;
    if (!pass->is_answered && begin(x, e) == GUARD_WAIT)
        return GUARD_WAIT;
    give_up(pass);
    pass->is_answered = false;
    if (pass->answer_status / 100 == 2 && set_fields(x, &e->copy))
        return GUARD_NEXT;
    if (is_no(pass->answer_status)) {
        pass->status = pass->answer_status;
        guard_refuse(x, g, REASON_AUTH_REFUSED);
        return GUARD_DONE;
    }
    LOG_LIMITED(LOG_WARN, 1, "guard %s: cluster %s gave no usable answer (status %u)", g->set->name,
                e->cluster, pass->answer_status);
    pass->status = (uint16_t)e->error_status;
    guard_refuse(x, g, REASON_AUTH_FAILED);
    return GUARD_DONE;
}

void guard_external_leave(struct guard_pass *pass)
{
    give_up(pass);
}
