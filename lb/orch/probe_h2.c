#include "orch/probe_h2.h"

#include "http/h2_client.h"

#define MESSAGE_MAX  64 /* of a HealthCheckResponse: it takes seven bytes */
#define SERVICE_MAX  255
#define GRPC_SERVING 1

/* One question and what was answered so far. */
struct talk {
    struct h2_client_stream stream; /* first */
    char body[SERVICE_MAX + 16];    /* of the question */
    uint32_t body_at;
    unsigned status;
    uint64_t grpc_status;
    bool has_grpc_status, is_ended, is_closed;
    char message[MESSAGE_MAX];
    size_t message_len;
};

static struct talk *talk_of(struct h2_client_stream *s)
{
    return (struct talk *)(void *)s;
}

static void take_grpc_status(struct talk *t, const struct message *m)
{
    for (uint16_t i = 0; i < m->field_count; i++)
        if (str_eq(field_name_of(m, &m->fields[i]), STR("grpc-status")))
            t->has_grpc_status = str_to_u64(field_value_of(m, &m->fields[i]), &t->grpc_status);
}

static void on_head(struct h2_client_stream *s, struct message *m)
{
    if (m->status < 200)
        return;
    talk_of(s)->status = m->status;
    take_grpc_status(talk_of(s), m);
}

static void on_data(struct h2_client_stream *s, const char *p, size_t n, bool last)
{
    struct talk *t = talk_of(s);
    size_t room = sizeof t->message - t->message_len;
    (void)last;
    n = n < room ? n : room;
    memcpy(t->message + t->message_len, p, n);
    t->message_len += n;
}

static void on_end(struct h2_client_stream *s, struct message *trailers)
{
    talk_of(s)->is_ended = true;
    if (trailers)
        take_grpc_status(talk_of(s), trailers);
}

static void on_closed(struct h2_client_stream *s, enum h2_closed how)
{
    (void)how;
    talk_of(s)->is_closed = true;
}

static void on_copy(struct h2_client_stream *s, char *to, size_t n)
{
    struct talk *t = talk_of(s);
    memcpy(to, t->body + t->body_at, n);
    t->body_at += (uint32_t)n;
    s->out_bytes -= (uint32_t)n;
}

static const struct h2_client_ops ops = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end, .on_closed = on_closed, .copy = on_copy};

/* ---- the question ---- */

/* A message of gRPC: not compressed, its length, and in protobuf the name of the service as field 1 when
 * there is one. */
static uint32_t put_check(char *to, struct str service)
{
    uint32_t n = service.n ? (uint32_t)service.n + (service.n < 128 ? 2 : 3) : 0, at = 5;
    memcpy(to, (char[5]){0, 0, 0, (char)(n >> 8), (char)n}, 5);
    if (!service.n)
        return at;
    to[at++] = 0x0a;
    if (service.n >= 128)
        to[at++] = (char)(0x80 | (service.n & 127));
    to[at++] = (char)(service.n < 128 ? service.n : service.n >> 7);
    memcpy(to + at, service.p, service.n);
    return at + (uint32_t)service.n;
}

static bool submit(struct h2_client *c, struct talk *t, const struct probe_settings *s)
{
    static const char text[] = "GETPOST";
    struct message m;
    bool grpc = s->kind == PROBE_GRPC;
    struct str path = s->path && *s->path ? str_of(s->path) : STR("/");
    message_init(&m, NULL, 0);
    m.base = text;
    m.method = grpc ? METHOD_POST : METHOD_GET;
    m.method_text = grpc ? (struct span){3, 4} : (struct span){0, 3};
    m.flags = grpc ? MSG_TE_TRAILERS : 0;
    struct h2_request r = {.m = &m,
                           .scheme = STR("http"),
                           .authority = s->host && *s->host ? str_of(s->host) : STR("probe.coxswain"),
                           .target = grpc ? STR("/grpc.health.v1.Health/Check") : path,
                           .own_fields =
                               grpc ? STR("user-agent: coxswain-probe\r\ncontent-type: application/grpc\r\n")
                                    : STR("user-agent: coxswain-probe\r\n"),
                           .content_length = -1,
                           .has_body = grpc};
    if (path.n > SERVICE_MAX || !h2_client_request(c, &t->stream, &r))
        return false;
    if (!grpc)
        return true;
    t->stream.out_bytes = put_check(t->body, str_make(path.p + 1, path.n - 1));
    t->stream.out_ended = true;
    h2_client_resume(c, &t->stream);
    return true;
}

/* A connection on which the question has been put into room. NULL: it cannot be. */
static struct h2_client *open_talk(struct talk *t, const struct probe_settings *s, char room[H2_FILL_BYTES],
                                   size_t *out_len)
{
    const struct h2_client_limits limits = {.head_bytes = PROBE_ANSWER_MAX,
                                            .stream_window = 65535,
                                            .connection_window = 65535,
                                            .control_frames = 1000};
    struct h2_client *c = h2_client_create(&ops, &limits, NULL);
    memset(t, 0, sizeof *t);
    ssize_t n = c && submit(c, t, s) ? h2_client_fill(c, room, H2_FILL_BYTES) : 0;
    if (n <= 0)
        h2_client_destroy(&c);
    *out_len = n > 0 ? (size_t)n : 0;
    return c;
}

size_t probe_h2_request(const struct probe_settings *s, char *to, size_t cap)
{
    char room[H2_FILL_BYTES];
    struct talk t;
    size_t n;
    struct h2_client *c = open_talk(&t, s, room, &n);
    h2_client_destroy(&c);
    if (n > cap)
        return 0;
    memcpy(to, room, n);
    return n;
}

/* ---- the answer ---- */

/* Field 1 of a HealthCheckResponse, a small number, is all that it has. */
static bool is_serving(const struct talk *t)
{
    static const char expected[7] = {0, 0, 0, 0, 2, 0x08, GRPC_SERVING};
    return t->message_len == sizeof expected && memcmp(t->message, expected, sizeof expected) == 0;
}

static enum probe_verdict judge_grpc(const struct talk *t, const char **out_why)
{
    *out_why = t->status != 200       ? "no answer of gRPC"
               : !t->has_grpc_status  ? "no grpc-status"
               : t->grpc_status == 12 ? "it has no grpc.health.v1.Health"
               : t->grpc_status == 5  ? "it does not know the service"
               : t->grpc_status != 0  ? "grpc-status says no"
               : !is_serving(t)       ? "not serving"
                                      : "";
    return **out_why ? PROBE_BAD : PROBE_GOOD;
}

static enum probe_verdict judge(const struct talk *t, const struct probe_settings *s, bool is_end,
                                const char **out_why)
{
    if (s->kind == PROBE_GRPC && t->is_ended)
        return judge_grpc(t, out_why);
    if (s->kind == PROBE_H2 && t->status) {
        *out_why = "status out of range";
        return t->status >= s->status_min && t->status <= s->status_max ? PROBE_GOOD : PROBE_BAD;
    }
    *out_why = "closed before its answer";
    return is_end || t->is_closed ? PROBE_BAD : PROBE_MORE;
}

enum probe_verdict probe_h2_judge(const struct probe_settings *s, struct str answer, bool is_end,
                                  const char **out_why)
{
    char room[H2_FILL_BYTES];
    struct talk t;
    size_t n;
    struct h2_client *c = open_talk(&t, s, room, &n);
    *out_why = "out of memory";
    if (!c)
        return PROBE_BAD;
    bool ok = !answer.n || h2_client_feed(c, answer.p, answer.n, 1);
    (void)h2_client_fill(c, room, sizeof room); /* what it ended for its faults is closed now */
    enum probe_verdict verdict = judge(&t, s, is_end, out_why);
    if (verdict == PROBE_MORE && (!ok || h2_client_trouble(c))) {
        *out_why = "it does not speak HTTP/2";
        verdict = PROBE_BAD;
    }
    h2_client_destroy(&c);
    return verdict;
}
