/* hasher: the thread that checks passwords. crypt(3) is slow on purpose, so no worker ever calls it. The one
 * door to libcrypt.
 *
 *   worker ─ hasher_submit(job) ─► mailbox ─► hasher: crypt_r ─► the worker's mailbox ─► job->done
 *
 * One thread a generation, made with the proxy when some guard has a password file, and at most
 * HASHER_PENDING_MAX jobs on their way: beyond it a client is told to come again. A job belongs to the hasher
 * from submit to done; it never looks at the exchange, so that one may end meanwhile. */
#ifndef COX_PROXY_HASHER_H
#define COX_PROXY_HASHER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "http/basic.h"
#include "net/mac.h"
#include "run/mailbox.h"
#include "run/worker.h"

#define HASHER_PENDING_MAX 64

struct hasher;

struct hash_job {
    struct mail mail;
    struct hasher *hasher;
    struct worker *worker;              /* who gets it back */
    void (*done)(struct hash_job *job); /* on that worker's thread; the job is its own again */
    void *owner;                        /* of `done`; the hasher does not look at it */
    const char *hash;                   /* what the password must give; borrowed from the settings */
    bool is_known;                      /* the user exists; else the work is done for nothing, so that
                                           nobody learns that from the time it takes */
    bool ok;                            /* the answer */
    unsigned char mac[MAC_BYTES];       /* the owner's */
    char password[BASIC_BYTES_MAX + 1]; /* wiped when it was checked */
};

/* NULL when threads or memory are out. */
struct hasher *hasher_create(void) __attribute__((warn_unused_result));
/* After all workers have ended: what waits goes back unchecked, then the thread ends. *h becomes NULL. */
void hasher_destroy(struct hasher **h);
/* Any worker. False: too many wait; the job stays the caller's. */
bool hasher_submit(struct hasher *h, struct hash_job *job) __attribute__((warn_unused_result));

#endif
