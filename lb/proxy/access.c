/* The access log: a line an exchange, formatted into a buffer of its worker, written in bulk by the control
 * thread, so that no disk ever makes a request wait. Buffers come back by mail; when all are away lines are
 * dropped and counted.
 *
 * client - user [date] "METHOD target HTTP/x.y" status bytes "referer" "user agent" cluster endpoint reason
 *     hold connect first total request-id          times in microseconds, - when not reached */
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "proxy/access_format.h"
#include "proxy/access_syslog.h"
#include "proxy/proxy.h"

/* Texts are cut, and escaping makes four bytes of one at most: so a line has room by construction, and
 * nothing below looks for the end of the buffer. */
#define TEXT_MAX_BYTES  1024 /* of one field that the client chose */
#define LABEL_MAX_BYTES 256  /* of a name: address, user, method, cluster, endpoint, request id */
#define LINE_MAX_BYTES  (4 * (3 * TEXT_MAX_BYTES + 6 * LABEL_MAX_BYTES) + 512)

_Static_assert(LINE_MAX_BYTES < ACCESS_BUFFER_BYTES / 2, "a buffer holds some of the longest lines");

static char *put_text(char *to, struct str s, size_t most)
{
    if (!s.n) {
        *to = '-';
        return to + 1;
    }
    return text_put_safe(to, str_make(s.p, s.n < most ? s.n : most));
}

static char *put_span(char *to, uint64_t from_ns, uint64_t to_ns)
{
    *to++ = ' ';
    if (from_ns && to_ns >= from_ns)
        return text_put_u64(to, (to_ns - from_ns) / NS_PER_US);
    *to = '-';
    return to + 1;
}

static char *put_date(struct exchange *x, char *to)
{
    struct pworker *pw = x->pw;
    uint64_t second = worker_wall_ns(&pw->w) / NS_PER_S;
    if (second != pw->log_second) {
        time_t t = (time_t)second;
        struct tm tm;
        gmtime_r(&t, &tm);
        pw->date_len =
            (uint32_t)strftime(pw->date_text, sizeof pw->date_text, " - - [%d/%b/%Y:%H:%M:%S +0000] \"", &tm);
        pw->log_second = second;
    }
    struct str text = str_make(pw->date_text, pw->date_len);
    if (x->pass && x->pass->user.n) { /* in the place of the second dash */
        to = text_put(to, STR(" - "));
        to = put_text(to, x->pass->user, LABEL_MAX_BYTES);
        text = str_make(text.p + 4, text.n - 4);
    }
    return text_put(to, text);
}

static char *put_request(const struct exchange *x, char *to)
{
    const struct message *m = &x->req;
    if (!m->head_len)
        return text_put(to, STR("-"));
    struct str method = message_str(m, m->method_text), target = message_str(m, m->target);
    if (method.p + method.n + 1 == target.p && method.n <= LABEL_MAX_BYTES) {
        /* they stand in the head as they stand in the line */
        to = put_text(to, str_make(method.p, method.n + 1 + target.n), method.n + 1 + TEXT_MAX_BYTES);
    } else {
        to = put_text(to, method, LABEL_MAX_BYTES);
        *to++ = ' ';
        to = put_text(to, target, TEXT_MAX_BYTES);
    }
    to = text_put(to, STR(" HTTP/1.1"));
    if (m->version != 11)
        memcpy(to - 3, m->version == 20 ? "2.0" : "1.0", 3);
    return to;
}

static char *put_line(struct exchange *x, char *to)
{
    const struct message *m = &x->req;
    bool has_head = m->head_len > 0;
    to = put_text(to, x->client_ip, LABEL_MAX_BYTES);
    to = put_date(x, to);
    to = put_request(x, to);
    to = text_put(to, STR("\" "));
    to = text_put_u64(to, x->status);
    *to++ = ' ';
    to = text_put_u64(to, x->tx_bytes);
    to = text_put(to, STR(" \""));
    to = put_text(to, has_head ? message_value(m, FIELD_REFERER) : STR_NULL, TEXT_MAX_BYTES);
    to = text_put(to, STR("\" \""));
    to = put_text(to, has_head ? message_value(m, FIELD_USER_AGENT) : STR_NULL, TEXT_MAX_BYTES);
    to = text_put(to, STR("\" "));
    to = put_text(to, x->cluster ? x->cluster->id : STR_NULL, LABEL_MAX_BYTES);
    *to++ = ' ';
    to = put_text(to, x->endpoint ? endpoint_id(x->endpoint) : STR_NULL, LABEL_MAX_BYTES);
    *to++ = ' ';
    to = text_put(to, reason_name((enum reason)x->reason));
    to = put_span(to, x->route_ns, x->pick_ns);
    to = put_span(to, x->pick_ns, x->connect_ns);
    to = put_span(to, x->pick_ns, x->first_byte_ns);
    to = put_span(to, x->start_ns, x->pw->w.now_ns);
    *to++ = ' ';
    to = text_put(to, x->request_id.n ? x->request_id : STR("-")); /* checked, or our own */
    *to++ = '\n';
    return to;
}

static void on_buffer_back(struct worker *w, struct mail *m)
{
    struct pworker *pw = pworker_of(w);
    struct access_buffer *b = CONTAINER_OF(m, struct access_buffer, mail);
    ledger_add(&pw->ledger.row->log_dropped, b->lost);
    b->lost = 0;
    b->next = pw->log_free;
    pw->log_free = b;
}

void access_give_back(struct access_buffer *b)
{
    b->len = b->sent = 0;
    b->mail.fn = on_buffer_back;
    mailbox_send(&b->pw->w.mailbox, &b->mail);
}

uint64_t access_count_lines(const struct access_buffer *b, size_t from)
{
    uint64_t n = 0;
    for (size_t i = from; i < b->len; i++)
        n += b->data[i] == '\n';
    return n;
}

static void write_out(struct access_buffer *b)
{
    for (size_t done = 0; done < b->len;) {
        ssize_t put_bytes = write(b->pw->proxy->access_fd, b->data + done, b->len - done);
        if (put_bytes <= 0) {
            LOG_LIMITED(LOG_ERROR, 1, "access log: write failed, %zu bytes lost", b->len - done);
            b->lost = access_count_lines(b, done);
            return;
        }
        done += (size_t)put_bytes;
    }
}

/* Control thread. */
static void on_buffer_full(struct worker *none, struct mail *m)
{
    struct access_buffer *b = CONTAINER_OF(m, struct access_buffer, mail);
    (void)none;
    if (b->pw->proxy->access_syslog) {
        access_syslog_take(b->pw->proxy->access_syslog, b);
        return;
    }
    write_out(b);
    access_give_back(b);
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
            pw->log->len = pw->log->sent = 0;
            pw->log->lost = 0;
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
    if (format)
        b->len += access_format_line(x, format, b->data + b->len);
    else
        b->len = (size_t)(put_line(x, b->data + b->len) - b->data);
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
