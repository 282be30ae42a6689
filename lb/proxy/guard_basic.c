/* Basic authentication: a password is checked by the hasher once, then its keyed hash is remembered by the
 * worker for a while. Nothing here is ever logged but the user's name of a right password. */
#include <stdlib.h>

#include "base/log.h"
#include "base/panic.h"
#include "proxy/exchange_priv.h"
#include "proxy/guard.h"
#include "proxy/proxy.h"
#include "proxy/verified.h"

static const struct basic_user *find_user(const struct basic_settings *b, struct str name)
{
    size_t low = 0, high = b->user_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(b->users[middle].name, name.p); /* both end with a NUL */
        if (!order)
            return &b->users[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static enum guard_step challenge(struct exchange *x, struct guard *g, enum reason why)
{
    char text[320];
    struct writer w;
    writer_init(&w, text, sizeof text);
    writer_str(&w, STR("WWW-Authenticate: Basic realm=\""));
    writer_str(&w, str_of(g->set->basic.realm));
    writer_str(&w, STR("\", charset=\"UTF-8\"\r\n"));
    x->pass->fields = w.overflow ? STR_NULL : arena_copy(&x->arena, str_make(w.p, w.len));
    guard_refuse(x, g, why);
    return GUARD_DONE;
}

/* It is who it says. */
static enum guard_step welcome(struct exchange *x, struct guard *g, struct str user)
{
    x->pass->user = arena_copy(&x->arena, user);
    if (!g->set->basic.pass)
        guard_drop_fields(&x->req, field_name(FIELD_AUTHORIZATION));
    return GUARD_NEXT;
}

/* Worker's thread. The job is ours again; the exchange may have gone. */
static void on_checked(struct hash_job *job)
{
    struct guard_pass *pass = job->owner;
    struct pworker *pw = pworker_of(job->worker);
    if (pass) {
        uint64_t cache_ms = pass->guards[pass->at]->set->basic.cache_ms;
        pass->job = NULL;
        pass->was_checked = true;
        pass->was_right = job->ok;
        if (job->ok && cache_ms)
            verified_add(pw->verified, job->mac, pw->w.now_ms, cache_ms);
    }
    free(job);
    if (pass)
        guard_resume(pass->x);
}

/* One Authorization field, and one only: of two nobody knows which the servers would heed. */
static bool read_claim(const struct exchange *x, char to[BASIC_BYTES_MAX + 1], struct str *user,
                       struct str *password)
{
    const struct message *m = &x->req;
    const struct field *found = NULL;
    for (uint16_t i = 0; i < m->field_count; i++) {
        const struct field *f = &m->fields[i];
        if (f->id != FIELD_AUTHORIZATION || (f->flags & FIELD_FLAG_DROP))
            continue;
        if (found)
            return false;
        found = f;
    }
    return found && basic_parse(field_value_of(m, found), to, user, password);
}

/* To the hasher. An unknown user costs the same work as a known one. */
static enum guard_step submit(struct exchange *x, struct guard *g, struct str user, struct str password,
                              const unsigned char mac[MAC_BYTES])
{
    const struct basic_settings *b = &g->set->basic;
    const struct basic_user *known = find_user(b, user);
    if (!guard_take(x, g, &b->attempts_bucket, GUARD_SALT_ATTEMPTS, REASON_AUTH_ATTEMPTS, false))
        return GUARD_DONE;
    struct hash_job *job =
        malloc(sizeof *job); /* once per password, not per request; bounded by the hasher */
    if (!job) {
        exchange_reply(x, REASON_NO_MEMORY);
        return GUARD_DONE;
    }
    *job = (struct hash_job){.worker = &x->pw->w,
                             .done = on_checked,
                             .owner = x->pass,
                             .hash = known ? known->hash : b->users[0].hash,
                             .is_known = known != NULL};
    memcpy(job->mac, mac, MAC_BYTES);
    memcpy(job->password, password.p, password.n + 1);
    if (hasher_submit(x->pw->proxy->guards->hasher, job)) {
        x->pass->job = job;
        return GUARD_WAIT;
    }
    explicit_bzero(job, sizeof *job);
    free(job);
    x->pass->retry_after_s = 1;
    guard_refuse(x, g, REASON_AUTH_BUSY);
    return GUARD_DONE;
}

static bool make_mac(const struct exchange *x, const struct guard *g, struct str user, struct str password,
                     unsigned char out[MAC_BYTES])
{
    char text[BASIC_BYTES_MAX + 32];
    uint64_t number = g->number, length = user.n;
    size_t n = 0;
    memcpy(text, &number, sizeof number);
    memcpy(text + 8, &length, sizeof length); /* so that "ab" "c" is not "a" "bc" */
    n = 16;
    memcpy(text + n, user.p, user.n);
    n += user.n;
    memcpy(text + n, password.p, password.n);
    n += password.n;
    bool ok = mac_make(verified_key(x->pw->verified), str_make(text, n), out);
    explicit_bzero(text, n);
    return ok;
}

enum guard_step guard_basic(struct exchange *x, struct guard *g)
{
    char text[BASIC_BYTES_MAX + 1];
    unsigned char mac[MAC_BYTES];
    struct str user, password;
    struct guard_pass *pass = x->pass;
    enum guard_step step;
    if (!g->set->basic.file)
        return GUARD_NEXT;
    if (!read_claim(x, text, &user, &password))
        return challenge(x, g, pass->was_checked ? REASON_AUTH_WRONG : REASON_AUTH_REQUIRED);
    if (!make_mac(x, g, user, password, mac)) {
        exchange_reply(x, REASON_NO_MEMORY);
        step = GUARD_DONE;
    } else if (verified_has(x->pw->verified, mac, x->pw->w.now_ms) ||
               (pass->was_checked && pass->was_right)) {
        step = welcome(x, g, user);
    } else if (pass->was_checked) {
        step = challenge(x, g, REASON_AUTH_WRONG);
    } else {
        step = submit(x, g, user, password, mac);
    }
    pass->was_checked = false;
    explicit_bzero(text, sizeof text);
    return step;
}

void guard_basic_leave(struct guard_pass *pass)
{
    if (pass->job)
        pass->job->owner = NULL; /* it frees itself when it comes back */
    pass->job = NULL;
}
