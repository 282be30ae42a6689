#include "orch/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/panic.h"

#define STATE_HEAD      "coxswain-orchestrator 1"
#define STATE_BYTES_MAX (2u << 20)

static ptrdiff_t find(const struct state *s, struct str id)
{
    for (size_t i = 0; i < s->drain_count; i++)
        if (str_eq(str_of(s->drains[i]), id))
            return (ptrdiff_t)i;
    return -1;
}

static bool add(struct state *s, struct str id)
{
    if (s->drain_count == STATE_DRAINS_MAX || memchr(id.p, '\n', id.n))
        return false;
    s->drains = must(realloc(s->drains, (s->drain_count + 1) * sizeof *s->drains));
    s->drains[s->drain_count++] = must(str_dup(id));
    return true;
}

static void parse(struct state *s, struct str text)
{
    struct str line;
    bool has_end = false;
    if (!str_next(&text, '\n', &line) || !str_eq(line, STR(STATE_HEAD))) {
        log_warn("%s is of another version and is not used", s->file);
        return;
    }
    while (!has_end && str_next(&text, '\n', &line)) {
        has_end = str_eq(line, STR("end"));
        if (str_starts(line, STR("drain ")) && !add(s, str_make(line.p + 6, line.n - 6)))
            break;
    }
    if (!has_end)
        log_warn("%s is cut off: what could be read of it is used", s->file);
}

void state_open(struct state *s, const char *dir)
{
    *s = (struct state){0};
    if (!dir || !*dir)
        return;
    struct buf path;
    buf_init(&path);
    buf_printf(&path, "%s/orchestrator.state", dir);
    s->file = must(str_dup(buf_str(&path)));
    buf_fini(&path);
    const int fd = open(s->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno != ENOENT)
            log_warn("cannot read %s: %s", s->file, strerror(errno));
        return;
    }
    char *text = must(malloc(STATE_BYTES_MAX));
    const ssize_t n = read(fd, text, STATE_BYTES_MAX);
    if (n >= 0)
        parse(s, str_make(text, (size_t)n));
    free(text);
    close(fd);
}

void state_close(struct state *s)
{
    for (size_t i = 0; i < s->drain_count; i++)
        free(s->drains[i]);
    free(s->drains);
    free(s->file);
    *s = (struct state){0};
}

static bool write_all(int fd, struct str bytes)
{
    while (bytes.n > 0) {
        const ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        bytes = str_make(bytes.p + n, bytes.n - (size_t)n);
    }
    return true;
}

/* Whole, beside the old one, then over it: a crash leaves the one or the other. */
static void save(const struct state *s)
{
    if (!s->file)
        return;
    struct buf text, path;
    buf_init(&text);
    buf_init(&path);
    buf_printf(&text, "%s\n", STATE_HEAD);
    for (size_t i = 0; i < s->drain_count; i++)
        buf_printf(&text, "drain %s\n", s->drains[i]);
    buf_printf(&text, "end\n");
    buf_printf(&path, "%s.new", s->file);
    buf_put(&path, "", 1);
    const int fd = open(path.p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const bool ok =
        fd >= 0 && write_all(fd, buf_str(&text)) && fsync(fd) == 0 && rename(path.p, s->file) == 0;
    if (!ok)
        log_error("cannot write %s: %s", s->file, strerror(errno));
    if (fd >= 0)
        close(fd);
    buf_fini(&text);
    buf_fini(&path);
}

bool state_set_drain(struct state *s, const char *id, bool drain)
{
    const ptrdiff_t at = find(s, str_of(id));
    if (drain == (at >= 0))
        return true;
    if (drain && !add(s, str_of(id)))
        return false;
    if (!drain) {
        free(s->drains[at]);
        s->drains[at] = s->drains[--s->drain_count];
    }
    save(s);
    return true;
}
