/* The back that answers from a file: head, conditions, ranges, and the bytes by sendfile where the front can.
 */
#include <errno.h>
#include <unistd.h>

#include "base/panic.h"
#include "proxy/files_answer.h"
#include "proxy/files_types.h"
#include "proxy/proxy.h"
#include "proxy/reply.h"

/* Of one file in one pass of the run queue; then others have theirs. */
#define TURN_BYTES (256u << 10)
/* Up to this size head and content leave in one system call, by way of the scratch buffer. */
#define SMALL_BYTES (32u << 10)
#define OWN_FIELDS  16
#define OWN_BYTES   1024

static void on_run(struct run_node *n);

struct files_answer *files_answer_create(struct exchange *x)
{
    struct files_answer *f = arena_alloc(&x->arena, sizeof *f);
    ASSERT(!x->back_state);
    if (!f)
        return NULL;
    *f = (struct files_answer){.magic = FILES_ANSWER_MAGIC, .fd = -1, .x = x};
    run_node_init(&f->run, on_run);
    x->back_state = f;
    return f;
}

void files_answer_set(struct files_answer *f, int fd, const struct stat *st, struct str name)
{
    f->fd = fd;
    f->type = files_type(name);
    f->facts.size = (uint64_t)st->st_size;
    f->facts.modified_s = (int64_t)st->st_mtim.tv_sec;
    f->modified_ns = (uint64_t)st->st_mtim.tv_sec * NS_PER_S + (uint64_t)st->st_mtim.tv_nsec;
}

void files_answer_start(struct files_answer *f)
{
    run_queue_add(&f->x->pw->w, &f->run);
}

/* ---- the end of it ---- */

static void close_file(struct files_answer *f)
{
    run_queue_remove(&f->run);
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    f->magic = 0;
    f->x->back_state = NULL;
}

static void complete(struct files_answer *f)
{
    struct exchange *x = f->x;
    close_file(f);
    exchange_response_end(x, NULL);
}

/* The file got shorter, or the disk failed, behind a head that promised more: the client must see a cut. */
static void fail(struct files_answer *f)
{
    struct exchange *x = f->x;
    close_file(f);
    exchange_attempt_failed(x, REASON_SERVER_BODY, true, false);
}

/* ---- head ---- */

struct head {
    struct message m;
    struct writer w;
};

static void put(struct head *h, struct str name, struct str value)
{
    reply_field(&h->m, &h->w, name, value);
}

static void put_date(struct head *h, struct str name, int64_t unix_s)
{
    char text[HTTP_DATE_BYTES];
    http_date_write(text, unix_s);
    put(h, name, str_make(text, sizeof text));
}

/* What a server behind us may not say about a file that it does not send itself. */
static bool is_replaced(const struct message *m, const struct field *f)
{
    struct str name = field_name_of(m, f), accel = STR("X-Accel-");
    switch (f->id) {
    case FIELD_CONTENT_LENGTH:
    case FIELD_CONTENT_RANGE:
    case FIELD_ACCEPT_RANGES:
    case FIELD_ETAG:
    case FIELD_LAST_MODIFIED:
    case FIELD_DATE:
    case FIELD_STATUS:
    case FIELD_X_SENDFILE:
        return true;
    default:
        return (f->flags & FIELD_FLAG_DROP) ||
               (name.n > accel.n && str_ieq(str_make(name.p, accel.n), accel));
    }
}

static void put_kept(struct head *h, const struct message *m)
{
    for (uint16_t i = 0; i < m->field_count; i++)
        if (!is_replaced(m, &m->fields[i]))
            put(h, field_name_of(m, &m->fields[i]), field_value_of(m, &m->fields[i]));
}

/* "bytes 0-9/100", or with status 416 the size alone (RFC 9110 14.4). */
static void put_content_range(struct head *h, const struct files_answer *f)
{
    char text[80];
    struct writer w;
    writer_init(&w, text, sizeof text);
    writer_str(&w, STR("bytes "));
    if (f->plan.status == 206) {
        writer_u64(&w, f->plan.from);
        writer_str(&w, STR("-"));
        writer_u64(&w, f->plan.from + f->plan.size - 1);
    } else {
        writer_str(&w, STR("*"));
    }
    writer_str(&w, STR("/"));
    writer_u64(&w, f->facts.size);
    put(h, STR("Content-Range"), str_make(text, w.len));
}

static void put_file_fields(struct head *h, struct files_answer *f)
{
    const struct files_settings *s = &f->x->opt->files;
    bool sends = f->plan.status == 200 || f->plan.status == 206;
    if (sends && !(f->kept && message_has(f->kept, FIELD_CONTENT_TYPE)))
        put(h, STR("Content-Type"), f->type);
    if (f->plan.status == 206 || f->plan.status == 416)
        put_content_range(h, f);
    put(h, STR("ETag"), f->facts.etag);
    put_date(h, STR("Last-Modified"), f->facts.modified_s);
    if (sends)
        put(h, STR("Accept-Ranges"), STR("bytes"));
    /* A private file must not inherit the caching of public ones. */
    if (s->cache_control && !f->kept && f->plan.status != 412 && f->plan.status != 416)
        put(h, STR("Cache-Control"), str_of(s->cache_control));
}

static void put_length(struct head *h, const struct files_answer *f)
{
    char text[20];
    struct writer w;
    bool is_head = f->x->req.method == METHOD_HEAD;
    h->m.content_length = f->plan.size;
    h->m.framing = is_head || f->plan.status == 304 ? BODY_NONE : BODY_LENGTH;
    if (!is_head || f->plan.status == 304)
        return;
    writer_init(&w, text, sizeof text);
    writer_u64(&w, f->plan.size);
    put(h, STR("Content-Length"), str_make(text, w.len));
    h->m.flags |= MSG_HAS_LENGTH;
}

static bool head_init(struct head *h, struct files_answer *f)
{
    struct arena *arena = &f->x->arena;
    size_t count = OWN_FIELDS + (f->kept ? f->kept->field_count : 0u);
    size_t bytes = OWN_BYTES + f->location.n + (f->kept ? f->kept->head_len : 0u);
    bytes += str_of(f->x->opt->files.cache_control).n;
    struct field *fields = arena_alloc(arena, count * sizeof *fields);
    char *text = arena_alloc(arena, bytes);
    if (!fields || !text)
        return false;
    message_init(&h->m, fields, (uint16_t)count);
    writer_init(&h->w, text, bytes);
    h->m.version = 11;
    h->m.flags = MSG_KEEP_ALIVE;
    return true;
}

static bool make_head(struct head *h, struct files_answer *f)
{
    char etag[FILES_ETAG_MAX];
    int64_t now_s = (int64_t)(worker_wall_ns(&f->x->pw->w) / NS_PER_S);
    if (!head_init(h, f))
        return false;
    put_date(h, STR("Date"), now_s);
    if (f->status) {
        f->plan = (struct files_plan){.status = f->status};
    } else {
        f->facts.now_s = now_s;
        f->facts.etag = str_make(etag, files_etag(etag, f->modified_ns, f->facts.size));
        files_plan(&f->x->req, &f->facts, &f->plan);
        put_file_fields(h, f);
    }
    if (f->kept)
        put_kept(h, f->kept);
    if (f->location.n)
        put(h, STR("Location"), f->location);
    if (f->status == 405)
        put(h, STR("Allow"), STR("GET, HEAD"));
    put_length(h, f);
    h->m.status = f->plan.status;
    h->m.base = h->w.p;
    h->m.head_len = (uint32_t)h->w.len;
    return !h->w.overflow;
}

/* False: the exchange is over, or went on without us. */
static bool send_head(struct files_answer *f)
{
    struct exchange *x = f->x;
    struct head h;
    f->head_sent = true;
    if (f->why == REASON_OK && !make_head(&h, f))
        f->why = REASON_NO_MEMORY;
    if (f->why != REASON_OK) {
        enum reason why = (enum reason)f->why;
        close_file(f);
        exchange_reply(x, why);
        return false;
    }
    f->at = (off_t)f->plan.from;
    f->left = h.m.framing == BODY_LENGTH ? f->plan.size : 0;
    return exchange_response(x, &h.m) && x->back_state == f;
}

/* ---- content ---- */

enum progress { GO_ON, WAIT, OVER };

/* A front says 0 both when its connection is full and when the file has no more. */
static enum progress blocked(struct files_answer *f)
{
    struct stat st;
    if (fstat(f->fd, &st) != 0 || st.st_size <= f->at) {
        fail(f);
        return OVER;
    }
    f->x->response_paused = true; /* want_response wakes us */
    return WAIT;
}

static enum progress send_from_file(struct files_answer *f, size_t most, size_t *io_sent)
{
    struct exchange *x = f->x;
    size_t n = f->left < most ? (size_t)f->left : most;
    ssize_t put_bytes = x->front->file(x, f->fd, &f->at, n, n == f->left);
    if (put_bytes < 0) {
        exchange_request_failed(x, REASON_CLIENT_GONE);
        return OVER;
    }
    if (!put_bytes)
        return blocked(f);
    f->left -= (uint64_t)put_bytes;
    x->tx_bytes += (uint64_t)put_bytes;
    *io_sent += (size_t)put_bytes;
    return GO_ON;
}

static enum progress send_from_memory(struct files_answer *f, size_t *io_sent)
{
    struct exchange *x = f->x;
    char *scratch = x->pw->w.scratch;
    size_t n = f->left < WORKER_READ_BYTES ? (size_t)f->left : WORKER_READ_BYTES;
    ssize_t got;
    do
        got = pread(f->fd, scratch, n, f->at);
    while (got < 0 && errno == EINTR);
    if (got <= 0) {
        fail(f);
        return OVER;
    }
    f->at += got;
    f->left -= (uint64_t)got;
    *io_sent += (size_t)got;
    exchange_response_data(x, scratch, (size_t)got, f->left == 0);
    if (x->back_state != f)
        return OVER;
    return !f->left || exchange_can_give(x) ? GO_ON : WAIT;
}

static void send_content(struct files_answer *f)
{
    bool by_file = f->x->front->file && f->left > SMALL_BYTES && !f->x->compress;
    size_t sent = 0;
    enum progress next = GO_ON;
    if (!by_file && f->left < f->plan.size && !exchange_can_give(f->x))
        return;
    while (next == GO_ON && f->left && sent < TURN_BYTES)
        next = by_file ? send_from_file(f, TURN_BYTES - sent, &sent) : send_from_memory(f, &sent);
    if (next == GO_ON && !f->left)
        complete(f);
    else if (next == GO_ON)
        files_answer_start(f);
}

static void on_run(struct run_node *n)
{
    struct files_answer *f = CONTAINER_OF(n, struct files_answer, run);
    CHECK_MAGIC(f, FILES_ANSWER_MAGIC);
    struct worker *w = &f->x->pw->w;
    if (f->head_sent || send_head(f))
        send_content(f);
    cork_flush(w);
}

/* ---- the table ---- */

static struct files_answer *answer_of(struct exchange *x)
{
    struct files_answer *f = x->back_state;
    CHECK_MAGIC(f, FILES_ANSWER_MAGIC);
    return f;
}

static enum reason files_start(struct exchange *x)
{
    if (!x->back_state) /* protocol "files" without a root */
        return REASON_FILE_NOT_FOUND;
    files_answer_start(answer_of(x));
    return REASON_OK;
}

/* A body that came along with the request is of no interest to a file. */
static size_t files_data(struct exchange *x, const char *p, size_t n, bool last)
{
    (void)x, (void)p, (void)last;
    return n;
}

static void files_end(struct exchange *x, struct message *trailers)
{
    (void)x, (void)trailers;
}

static void files_want_response(struct exchange *x)
{
    if (x->back_state)
        files_answer_start(answer_of(x));
}

static void files_abort(struct exchange *x)
{
    if (x->back_state)
        close_file(answer_of(x));
}

const struct back_ops back_files = {
    .name = "files",
    .start = files_start,
    .data = files_data,
    .end = files_end,
    .want_response = files_want_response,
    .abort = files_abort,
};
