/* hold: the bounded, fair waiting rooms of clusters that nothing can serve right now: no endpoint, or all at
 * max_in_flight.
 *
 *   worker 0: room of cluster c: oldest ─► … ─► newest      room.oldest_ns, read by the others
 *   worker 1: room of cluster c: oldest ─► …
 *
 * One room a cluster and worker, oldest first; a held exchange waits at most hold_timeout and leaves when its
 * client does. Its size (hold_max) is one shared number over all workers, proxy.hold.holding. With hold_fair
 * a client may have at most as many places as are still free: one alone gets half of the room, and whoever
 * comes new finds a place as long as there is any.
 *
 * When a new topology arrives every room is tried. When a place under max_in_flight, or in the wave of a
 * cluster without (wave.h), comes free, whoever freed it tells the worker with the oldest arrival (itself, or
 * by mail); that one takes what it can while it has the oldest, and passes the word on. Where there are waves
 * "oldest" is a matter of HOLD_TURN_NS, so that workers need not write each other letters about every one.
 *
 * Beyond the first few, those that wait are berths (berth.h), which cost a quarter of a session with an
 * exchange.
 *
 * No wake-up is lost: who waits publishes that first and looks for a free place afterwards, who frees gives
 * the place back first and looks for waiting ones afterwards, both sequentially consistent. Worker's thread
 * only. */
#ifndef COX_PROXY_HOLD_H
#define COX_PROXY_HOLD_H

#include "proxy/exchange.h"
#include "run/mailbox.h"

#define HOLD_TURN_NS 1000000ull

struct hold_room {
    struct list waiting; /* struct hold_place, of this cluster; next NULL: never used */
    struct list node;    /* in pworker.rooms while someone waits */
    struct list due;     /* in pworker.rooms_due: the word is here */
    struct mail mail;    /* the word from another worker … */
    _Atomic bool mailed; /* … is under way */
    struct pworker *pw;
    _Atomic uint64_t oldest_ns; /* arrival of the first; 0: nobody waits. Read by the other workers */
    uint32_t wave_seen;         /* wave.h: how many places there were … */
    uint64_t wave_ms;           /* … since when, as far as was looked */
};

/* Of all workers; lines are written only when something has to wait. */
struct hold_shared {
    _Atomic uint32_t *holding; /* owned; requests in hold per cluster slot */
    _Atomic uint64_t *waves;   /* owned; wave.h, per cluster slot */
    struct clients *clients;   /* owned; requests in hold per client and cluster */
    struct wake_cell *wakes;   /* owned; wakes.h */
};

/* REASON_OK; or the room is full, or its client has its share of it. */
enum reason hold_add(struct exchange *x) __attribute__((warn_unused_result));
/* Harmless when it is not in. */
void hold_remove(struct exchange *x);
/* Its time is up: 503. */
void hold_give_up(struct exchange *x);
/* So many whose connections sleep (berth.h) are sessions again, for a drain. */
void hold_wake_some(struct pworker *pw, uint32_t max);
/* For berth.c: out of the room, without a word; its client's share is free; its time-out. */
void hold_drop(struct pworker *pw, struct hold_place *place, const struct cluster *c);
void hold_leave_share(struct pworker *pw, const struct listener_settings *l, struct str client,
                      uint32_t slot);
void hold_set_deadline(struct exchange *x, uint64_t at_ms);
/* Others of its cluster wait, in some worker. */
bool hold_is_used(const struct exchange *x);
/* A new topology is current: those whose cluster can serve now go on. */
void hold_release(struct pworker *pw);
/* Some time went by: a second, or less while the worker drains. */
void hold_tick(struct pworker *pw);
/* A place in this cluster came free. Never runs an exchange at once: in the next pass of the run queue. */
void hold_freed(struct pworker *pw, uint32_t slot);

struct proxy;
bool hold_shared_init(struct proxy *p, uint32_t max_clusters) __attribute__((warn_unused_result));
void hold_shared_fini(struct proxy *p);
bool hold_init(struct pworker *pw, uint32_t max_clusters) __attribute__((warn_unused_result));
void hold_fini(struct pworker *pw);

#endif
