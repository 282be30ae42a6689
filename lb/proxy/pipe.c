#include "proxy/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"

void pipe_init(struct pipe *p, struct worker *w)
{
    *p = (struct pipe){.worker = w, .file_fd = -1};
}

static void free_chunks(struct pipe *p, struct chunk *until)
{
    while (p->first && p->first != until) {
        struct chunk *c = p->first;
        p->first = c->next;
        chunk_give(p->worker, c);
    }
    if (!p->first)
        p->last = NULL;
}

void pipe_clear(struct pipe *p)
{
    free_chunks(p, NULL);
    chunk_give(p->worker, p->window);
    p->window = p->at = NULL;
    if (p->file_fd >= 0)
        close(p->file_fd);
    p->file_fd = -1;
    quota_give(&p->worker->temp, p->file_to);
    p->file_from = p->file_to = 0;
}

/* Unlinked from the start where the file system can, else right after it was made. */
static int temp_open(const char *dir)
{
    char path[512];
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL))
        return fd;
    snprintf(path, sizeof path, "%s/coxswain-body-XXXXXX", dir);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static bool spill(struct pipe *p, const char *data, size_t n)
{
    if (p->file_fd < 0) {
        p->file_fd = temp_open(p->temp_dir ? p->temp_dir : "/tmp");
        if (p->file_fd < 0) {
            LOG_LIMITED(LOG_ERROR, 5, "temporary file in %s: errno %d", p->temp_dir ? p->temp_dir : "/tmp",
                        errno);
            return false;
        }
    }
    while (n) {
        ssize_t put = pwrite(p->file_fd, data, n, (off_t)p->file_to);
        if (put <= 0) {
            LOG_LIMITED(LOG_ERROR, 5, "writing a temporary file failed: errno %d", errno);
            return false;
        }
        data += put;
        n -= (size_t)put;
        p->file_to += (uint64_t)put;
        quota_take(&p->worker->temp, (uint64_t)put);
    }
    return true;
}

static bool push_memory(struct pipe *p, const char *data, size_t n)
{
    if (!chunks_append(p->worker, &p->first, &p->last, data, n, p->quota))
        return false;
    p->memory_bytes += (uint32_t)n;
    return true;
}

bool pipe_push(struct pipe *p, const char *data, size_t n)
{
    /* What is kept will be read again from the start, memory first: so nothing may follow the file in memory.
     */
    bool to_file = p->file_to > 0 || (p->file_max && p->memory_bytes + n > p->memory_max) ||
                   (p->spills_early && quota_is_short(p->quota));
    if (to_file ? !spill(p, data, n) : !push_memory(p, data, n))
        return false;
    p->pushed_bytes += n;
    return true;
}

void pipe_pass(struct pipe *p, size_t n)
{
    p->pushed_bytes += n;
    p->taken_bytes += n;
    if (p->keep)
        pipe_forget(p);
}

static struct str peek_memory(struct pipe *p)
{
    if (!p->at) {
        p->at = p->first;
        p->at_offset = 0;
    }
    while (p->at && p->at_offset == p->at->to && p->at->next) {
        struct chunk *next = p->at->next;
        if (!p->keep)
            free_chunks(p, next);
        p->at = next;
        p->at_offset = 0;
    }
    return p->at ? str_make(p->at->data + p->at_offset, p->at->to - p->at_offset) : STR_NULL;
}

static struct str peek_file(struct pipe *p, bool *out_ok)
{
    struct chunk *w = p->window;
    if (w && w->from < w->to)
        return str_make(w->data + w->from, w->to - w->from);
    if (!w) {
        w = p->window = chunk_take(p->worker, p->quota);
        if (!w) {
            *out_ok = false;
            return STR_NULL;
        }
    }
    uint64_t left = p->file_to - p->file_from;
    size_t want = left < w->size ? (size_t)left : w->size;
    ssize_t got = pread(p->file_fd, w->data, want, (off_t)p->file_from);
    if (got <= 0) {
        *out_ok = false;
        return STR_NULL;
    }
    w->from = 0;
    w->to = (uint32_t)got;
    return str_make(w->data, (size_t)got);
}

struct str pipe_peek(struct pipe *p, bool *out_ok)
{
    *out_ok = true;
    if (p->memory_bytes)
        return peek_memory(p);
    if (p->file_to > p->file_from)
        return peek_file(p, out_ok);
    return STR_NULL;
}

/* Nothing is queued: start over, so that an idle pipe holds no memory. */
static void reset_empty(struct pipe *p)
{
    if (p->keep)
        return;
    free_chunks(p, NULL);
    p->at = NULL;
    chunk_give(p->worker, p->window);
    p->window = NULL;
    if (p->file_to && ftruncate(p->file_fd, 0) != 0)
        LOG_LIMITED(LOG_WARN, 1, "a temporary file could not be emptied: errno %d",
                    errno); /* it is written over */
    quota_give(&p->worker->temp, p->file_to);
    p->file_from = p->file_to = 0;
}

void pipe_give_window(struct pipe *p)
{
    if (!p->window)
        return;
    chunk_give(p->worker, p->window);
    p->window = NULL;
}

void pipe_take(struct pipe *p, size_t n)
{
    p->taken_bytes += n;
    if (p->memory_bytes) {
        ASSERT(n <= p->memory_bytes);
        p->memory_bytes -= (uint32_t)n;
        p->at_offset += (uint32_t)n;
        if (!p->memory_bytes && !p->keep) { /* the last block too: what follows lies in the file */
            free_chunks(p, NULL);
            p->at = NULL;
        }
    } else {
        ASSERT(p->window && p->window->from + n <= p->window->to);
        p->window->from += (uint32_t)n;
        p->file_from += n;
    }
    if (pipe_queued(p) == 0)
        reset_empty(p);
}

void pipe_drop(struct pipe *p)
{
    p->keep = false;
    p->taken_bytes = p->pushed_bytes;
    p->memory_bytes = 0;
    reset_empty(p);
}

bool pipe_can_rewind(const struct pipe *p)
{
    return p->taken_bytes == 0 || p->keep;
}

void pipe_rewind(struct pipe *p)
{
    ASSERT(pipe_can_rewind(p));
    if (!p->taken_bytes)
        return;
    p->at = NULL;
    p->taken_bytes = 0;
    p->file_from = 0;
    if (p->window)
        p->window->from = p->window->to = 0;
    p->memory_bytes = 0;
    for (struct chunk *c = p->first; c; c = c->next)
        p->memory_bytes += c->to;
}

void pipe_forget(struct pipe *p)
{
    if (!p->keep)
        return;
    p->keep = false;
    if (pipe_queued(p) == 0)
        reset_empty(p);
    else if (p->memory_bytes == 0) {
        free_chunks(p, NULL);
        p->at = NULL;
    } else if (p->at)
        free_chunks(p, p->at);
}
