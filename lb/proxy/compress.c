#include "proxy/compress.h"

#include "base/log.h"
#include "base/panic.h"
#include "http/coding.h"
#include "http/gzip.h"
#include "proxy/exchange_priv.h"
#include "proxy/proxy.h"

#define COMPRESS_MAGIC 0x677a6970u

struct compress {
    uint32_t magic;
    bool ended;    /* all was delivered */
    bool by_turns; /* is flushed at the end of each loop turn */
    struct exchange *x;
    struct run_node run;
    struct gzip *gzip; /* in `block` */
    char out[COMPRESS_OUT_BYTES];
    _Alignas(16) char block[GZIP_BLOCK_BYTES];
};

size_t compress_block_bytes(void)
{
    return sizeof(struct compress);
}

/* False: the exchange is over, or c is. */
static bool work(struct compress *c, struct str in, enum gzip_mode mode, bool last)
{
    struct exchange *x = c->x;
    bool done = false;
    while (!done) {
        size_t n = gzip_step(c->gzip, &in, mode, c->out, sizeof c->out, &done);
        if (n)
            exchange_pass_data(x, c->out, n, done && last);
        if (x->compress != c)
            return false;
    }
    return true;
}

static void on_run(struct run_node *n)
{
    struct compress *c = CONTAINER_OF(n, struct compress, run);
    CHECK_MAGIC(c, COMPRESS_MAGIC);
    struct worker *w = &c->x->pw->w;
    work(c, STR_NULL, GZIP_FLUSH, false);
    cork_flush(w);
}

/* NULL: no place, no memory. */
static struct compress *create(struct exchange *x)
{
    struct pworker *pw = x->pw;
    if (pw->compress_pool.taken_count >= (uint64_t)pw->settings->max_compressions)
        return NULL;
    struct compress *c = pool_take(&pw->compress_pool);
    if (!c)
        return NULL;
    c->gzip = gzip_init(c->block, (int)x->opt->compress.level);
    if (!c->gzip) {
        LOG_LIMITED(LOG_ERROR, 1, "compress: this zlib needs more than %u bytes a stream", GZIP_BLOCK_BYTES);
        pool_give(&pw->compress_pool, c);
        return NULL;
    }
    c->magic = COMPRESS_MAGIC;
    c->ended = false;
    c->by_turns = !x->buffered_response && x->back != &back_files;
    c->x = x;
    run_node_init(&c->run, on_run);
    return c;
}

/* A client of HTTP/1.0 would pay for it with its connection: without a length only its end ends the answer.
 */
static bool is_wanted(const struct exchange *x)
{
    return x->req.version >= 11 && coding_wants_gzip(&x->req);
}

void compress_head(struct exchange *x, struct message *m)
{
    const struct compress_settings *o = &x->opt->compress;
    ASSERT(!x->compress);
    if (!coding_may_compress(&x->req, m, &o->types, o->min_bytes))
        return;
    bool wanted = is_wanted(x);
    /* The head of HEAD is that of GET (RFC 9110 9.3.2), and needs no state. */
    if (wanted && x->req.method != METHOD_HEAD)
        x->compress = create(x);
    bool gzip = wanted && (x->compress || x->req.method == METHOD_HEAD);
    if (!coding_change_head(m, &x->arena, gzip))
        compress_fini(x);
}

void compress_data(struct exchange *x, const char *p, size_t n, bool last)
{
    struct compress *c = x->compress;
    CHECK_MAGIC(c, COMPRESS_MAGIC);
    ASSERT(!c->ended);
    c->ended = last;
    if (work(c, str_make(p, n), last ? GZIP_END : GZIP_MORE, last) && !last && c->by_turns)
        run_queue_add(&x->pw->w, &c->run);
}

void compress_end(struct exchange *x, bool has_trailers)
{
    struct compress *c = x->compress;
    CHECK_MAGIC(c, COMPRESS_MAGIC);
    run_queue_remove(&c->run);
    if (c->ended)
        return;
    c->ended = true;
    work(c, STR_NULL, GZIP_END, !has_trailers);
}

void compress_fini(struct exchange *x)
{
    struct compress *c = x->compress;
    if (!c)
        return;
    run_queue_remove(&c->run);
    c->magic = 0;
    x->compress = NULL;
    pool_give(&x->pw->compress_pool, c);
}
