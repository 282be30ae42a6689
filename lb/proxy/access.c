/* The access log: a line an exchange, formatted into a buffer of its worker, written in bulk by the control
 * thread, so that no disk ever makes a request wait. Buffers come back by mail; when all are away lines are
 * dropped and counted.
 *
 * client - - [date] "METHOD target HTTP/x.y" status bytes "referer" "user agent" cluster endpoint reason
 *     hold connect first total request-id          times in microseconds, - when not reached */
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/access_format.h"
#include "proxy/proxy.h"

#define LINE_MAX_BYTES 4096
#define TEXT_MAX_BYTES 1024 /* of one field that the client chose */

struct line {
    char *at, *end;
};

static void put(struct line *l, struct str s)
{
    size_t room = (size_t)(l->end - l->at), n = s.n < room ? s.n : room;
    if (n)
        memcpy(l->at, s.p, n);
    l->at += n;
}

/* Printable ASCII but the quote and the backslash. */
static inline bool is_plain(unsigned char c)
{
    static const uint64_t plain[4] = {0xfffffffbffffffffull & ~0xffffffffull, 0x7fffffffefffffffull, 0, 0};
    return plain[c >> 6] >> (c & 63) & 1;
}

/* Are all eight bytes plain? May say no to bytes that are (never the other way round), when a borrow runs on.
 */
static inline bool are_plain(uint64_t v)
{
    const uint64_t ones = 0x0101010101010101ull, high = ones << 7;
    uint64_t quote = v ^ ones * '"', slash = v ^ ones * '\\', del = v ^ ones * 0x7f;
    uint64_t bad = (v - ones * 0x20) | (quote - ones) | (slash - ones) | (del - ones) | v;
    return !(bad & high);
}

static void put_escaped(struct line *l, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char text[4] = {'\\', 'x', hex[c >> 4], hex[c & 15]};
    put(l, str_make(text, sizeof text));
}

/* Bytes that a reader of the log could mistake for something else are escaped (H36). */
static void put_safe(struct line *l, struct str s)
{
    if (!s.n) {
        put(l, STR("-"));
        return;
    }
    if (s.n > TEXT_MAX_BYTES)
        s.n = TEXT_MAX_BYTES;
    for (size_t i = 0, run; i < s.n; i = run + 1) {
        run = i;
        for (uint64_t v; run + 8 <= s.n; run += 8) {
            memcpy(&v, s.p + run, 8);
            if (!are_plain(v))
                break;
        }
        while (run < s.n && is_plain((unsigned char)s.p[run]))
            run++;
        put(l, str_make(s.p + i, run - i));
        if (run < s.n)
            put_escaped(l, (unsigned char)s.p[run]);
    }
}

static void put_u64(struct line *l, uint64_t v)
{
    if (v < 10 && l->at < l->end) {
        *l->at++ = (char)('0' + v);
        return;
    }
    char digits[20];
    size_t n = sizeof digits;
    do
        digits[--n] = (char)('0' + v % 10);
    while (v /= 10);
    put(l, str_make(digits + n, sizeof digits - n));
}

static void put_span(struct line *l, uint64_t from_ns, uint64_t to_ns)
{
    put(l, STR(" "));
    if (!from_ns || to_ns < from_ns)
        put(l, STR("-"));
    else
        put_u64(l, (to_ns - from_ns) / NS_PER_US);
}

static void put_date(struct pworker *pw, struct line *l)
{
    uint64_t second = worker_wall_ns(&pw->w) / NS_PER_S;
    if (second != pw->log_second) {
        time_t t = (time_t)second;
        struct tm tm;
        gmtime_r(&t, &tm);
        pw->date_len =
            (uint32_t)strftime(pw->date_text, sizeof pw->date_text, " - - [%d/%b/%Y:%H:%M:%S +0000] \"", &tm);
        pw->log_second = second;
    }
    put(l, str_make(pw->date_text, pw->date_len));
}

static void put_request(struct exchange *x, struct line *l)
{
    struct message *m = &x->req;
    if (!m->head_len) {
        put(l, STR("-"));
        return;
    }
    put_safe(l, message_str(m, m->method_text));
    put(l, STR(" "));
    put_safe(l, message_str(m, m->target));
    put(l, m->version == 20 ? STR(" HTTP/2.0") : m->version == 10 ? STR(" HTTP/1.0") : STR(" HTTP/1.1"));
}

static void put_line(struct exchange *x, struct line *l)
{
    struct message *m = &x->req;
    bool has_head = m->head_len > 0;
    put_safe(l, x->client_ip);
    put_date(x->pw, l);
    put_request(x, l);
    put(l, STR("\" "));
    put_u64(l, x->status);
    put(l, STR(" "));
    put_u64(l, x->tx_bytes);
    put(l, STR(" \""));
    put_safe(l, has_head ? message_value(m, FIELD_REFERER) : STR_NULL);
    put(l, STR("\" \""));
    put_safe(l, has_head ? message_value(m, FIELD_USER_AGENT) : STR_NULL);
    put(l, STR("\" "));
    put_safe(l, x->cluster ? x->cluster->id : STR_NULL);
    put(l, STR(" "));
    put_safe(l, x->endpoint ? x->endpoint->id : STR_NULL);
    put(l, STR(" "));
    put(l, str_of(reason_id((enum reason)x->reason)));
    put_span(l, x->route_ns, x->pick_ns);
    put_span(l, x->pick_ns, x->connect_ns);
    put_span(l, x->pick_ns, x->first_byte_ns);
    put_span(l, x->start_ns, x->pw->w.now_ns);
    put(l, STR(" "));
    put(l, x->request_id.n ? x->request_id : STR("-")); /* checked, or our own */
    put(l, STR("\n"));
}

static void on_buffer_back(struct worker *w, struct mail *m)
{
    struct pworker *pw = pworker_of(w);
    struct access_buffer *b = CONTAINER_OF(m, struct access_buffer, mail);
    b->next = pw->log_free;
    pw->log_free = b;
}

/* Control thread. */
static void on_buffer_full(struct worker *none, struct mail *m)
{
    struct access_buffer *b = CONTAINER_OF(m, struct access_buffer, mail);
    (void)none;
    for (size_t done = 0; done < b->len;) {
        ssize_t put_bytes = write(b->pw->proxy->access_fd, b->data + done, b->len - done);
        if (put_bytes <= 0) {
            LOG_LIMITED(LOG_ERROR, 1, "access log: write failed, %zu bytes lost", b->len - done);
            break;
        }
        done += (size_t)put_bytes;
    }
    b->len = 0;
    b->mail.fn = on_buffer_back;
    mailbox_send(&b->pw->w.mailbox, &b->mail);
}

void access_flush(struct pworker *pw)
{
    struct access_buffer *b = pw->log;
    if (!b || !b->len)
        return;
    pw->log = NULL;
    b->mail.fn = on_buffer_full;
    mailbox_send(&pw->proxy->mailbox, &b->mail);
}

static struct access_buffer *buffer_of(struct pworker *pw, size_t room)
{
    if (pw->log && ACCESS_BUFFER_BYTES - pw->log->len < room)
        access_flush(pw);
    if (!pw->log && pw->log_free) {
        pw->log = pw->log_free;
        pw->log_free = pw->log->next;
    }
    if (!pw->log && pw->log_made < ACCESS_BUFFERS_MAX) {
        pw->log = malloc(sizeof *pw->log);
        if (pw->log) {
            pw->log->pw = pw;
            pw->log->len = 0;
            pw->log_made++;
        }
    }
    return pw->log;
}

void access_log(struct exchange *x)
{
    struct pworker *pw = x->pw;
    if (pw->proxy->access_fd < 0)
        return;
    const struct log_format *format = x->session->listener->log_format;
    if (format && !format->count)
        return;
    struct access_buffer *b = buffer_of(pw, format ? LOG_LINE_BYTES : LINE_MAX_BYTES);
    if (!b) {
        ledger_add(&pw->ledger.row->log_dropped, 1);
        return;
    }
    if (format) {
        b->len += access_format_line(x, format, b->data + b->len);
        return;
    }
    struct line l = {.at = b->data + b->len, .end = b->data + b->len + LINE_MAX_BYTES};
    put_line(x, &l);
    if (l.at[-1] != '\n') /* cut off in the middle: still one line */
        l.at[-1] = '\n';
    b->len = (size_t)(l.at - b->data);
}

void access_fini(struct pworker *pw)
{
    free(pw->log);
    pw->log = NULL;
    while (pw->log_free) {
        struct access_buffer *b = pw->log_free;
        pw->log_free = b->next;
        free(b);
    }
}
