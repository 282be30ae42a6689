#include "master/tls_files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "master/master.h"
#include "run/bundle.h"

/* ---- the files ---- */

static void mix(uint64_t *sum, uint64_t value)
{
    *sum = (*sum ^ value) * 0x100000001b3ull; /* FNV-1a, by words */
}

static void mix_file(void *ctx, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        mix(ctx, (uint64_t)errno);
        return;
    }
    mix(ctx, (uint64_t)st.st_dev);
    mix(ctx, (uint64_t)st.st_ino);
    mix(ctx, (uint64_t)st.st_size);
    mix(ctx, (uint64_t)st.st_mtim.tv_sec);
    mix(ctx, (uint64_t)st.st_mtim.tv_nsec);
}

static uint64_t fingerprint(const struct settings *s)
{
    uint64_t sum = 0xcbf29ce484222325ull;
    bundle_paths(s, BUNDLE_ALL, mix_file, &sum);
    return sum;
}

bool tls_files_load(struct tls_files *f, const struct settings *s, struct buf *errors)
{
    f->seen = f->changing = fingerprint(s);
    f->fd = bundle_make(s, BUNDLE_ALL, errors);
    return f->fd >= 0;
}

static void log_lines(const struct buf *text)
{
    struct str rest = buf_str(text), line;
    while (rest.n && str_next(&rest, '\n', &line))
        if (line.n)
            log_error("%.*s", STR_ARG(line));
}

static void replace_fd(struct tls_files *f, int fd)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = fd;
}

int tls_files_for_probes(const struct settings *s)
{
    struct buf errors;
    buf_init(&errors);
    int fd = bundle_make(s, BUNDLE_SERVERS, &errors);
    log_lines(&errors);
    buf_fini(&errors);
    return fd;
}

static void tell_orchestrator(struct master *m)
{
    int fd = tls_files_for_probes(m->settings);
    if (fd < 0)
        return;
    orchestrator_tell(m, CHANNEL_TLS_FILES, STR(""), &fd, 1);
    close(fd);
}

static void read_again(struct master *m)
{
    struct buf errors;
    buf_init(&errors);
    int fd = bundle_make(m->settings, BUNDLE_ALL, &errors);
    log_lines(&errors);
    buf_fini(&errors);
    if (fd < 0) {
        log_error("the files of TLS have changed, but not all can be read: the former ones stay in use");
        return;
    }
    log_info("the files of TLS have changed: read again");
    replace_fd(&m->tls, fd);
    if (m->generations.serving && m->generations.serving->channel)
        channel_send(m->generations.serving->channel, CHANNEL_TLS_FILES, STR(""), &fd, 1);
    tell_orchestrator(m);
}

static void on_look(void *ctx)
{
    struct master *m = ctx;
    CHECK_MAGIC(m, MASTER_MAGIC);
    struct tls_files *f = &m->tls;
    /* A reload reads them in any case, and the generation that starts then has other settings. */
    if (m->reload.phase == RELOAD_IDLE && !is_stopping(m)) {
        uint64_t now = fingerprint(m->settings);
        if (now != f->seen && now == f->changing) {
            f->seen = now;
            read_again(m);
        }
        f->changing = now;
    }
    timer_arm(&f->look, m->settings->tls_check_ms);
}

/* ---- tickets ---- */

static void make_key(unsigned char key[TICKET_KEY_BYTES])
{
    if (getrandom(key, TICKET_KEY_BYTES, 0) != TICKET_KEY_BYTES)
        PANIC("no random numbers: %s", strerror(errno));
}

static void on_rotate(void *ctx)
{
    struct master *m = ctx;
    CHECK_MAGIC(m, MASTER_MAGIC);
    struct ticket_keys *t = &m->tls.tickets;
    memcpy(t->key[TICKET_PREVIOUS], t->key[TICKET_CURRENT], TICKET_KEY_BYTES);
    memcpy(t->key[TICKET_CURRENT], t->key[TICKET_NEXT], TICKET_KEY_BYTES);
    make_key(t->key[TICKET_NEXT]);
    generations_tell(m, CHANNEL_TICKET_KEYS, str_make((const char *)t, sizeof *t), NULL, 0);
    timer_arm(&m->tls.rotate, m->settings->ticket_rotation_ms);
}

/* ---- life ---- */

void tls_files_start(struct master *m)
{
    struct tls_files *f = &m->tls;
    if (!f->has_tickets)
        for (int i = 0; i < TICKET_KEYS; i++)
            make_key(f->tickets.key[i]);
    f->has_tickets = true;
    timer_init(&f->look, &m->loop, on_look, m);
    timer_init(&f->rotate, &m->loop, on_rotate, m);
    timer_arm(&f->look, m->settings->tls_check_ms);
    timer_arm(&f->rotate, m->settings->ticket_rotation_ms);
}

void tls_files_take(struct master *m, int fd)
{
    struct tls_files *f = &m->tls;
    replace_fd(f, fd);
    f->seen = f->changing = fingerprint(m->settings);
    timer_arm(&f->look, m->settings->tls_check_ms);
    timer_arm(&f->rotate, m->settings->ticket_rotation_ms);
}

void tls_files_status(const struct tls_files *f, struct buf *out)
{
    struct str rest = buf_str(&f->certificates), listener, file, host;
    uint64_t end, is_kept;
    while (rest.n && unpack_str(&rest, &listener) && unpack_str(&rest, &file) && unpack_str(&rest, &host) &&
           unpack_u64(&rest, &end) && unpack_u64(&rest, &is_kept))
        buf_printf(out, "certificate %llu %llu %.*s %.*s %.*s\n", (unsigned long long)end,
                   (unsigned long long)is_kept, STR_ARG(listener), STR_ARG(host), STR_ARG(file));
}

void tls_files_fini(struct tls_files *f)
{
    replace_fd(f, -1);
    explicit_bzero(&f->tickets, sizeof f->tickets);
    buf_fini(&f->certificates);
}
