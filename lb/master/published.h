/* published: the topology that the master holds for the next child to start from.
 *
 * The orchestrator hands over a sealed copy at most once a second. Whether it can be read is found out when
 * it is needed, not when it comes: looking at 100,000 endpoints costs tens of milliseconds, and most copies
 * are replaced before anyone starts from them. Until a newer one is known to be good the last good one is
 * kept. Owned by `master`; its thread. */
#ifndef COX_MASTER_PUBLISHED_H
#define COX_MASTER_PUBLISHED_H

#include <stdbool.h>

struct published {
    int fd;    /* owned; sealed; the last that was found to be good; -1: none */
    int fresh; /* owned; newer, not looked at yet; -1: none */
};

/* Takes over fd. */
void published_offer(struct published *p, int fd);
/* Looks at what was offered last, if nobody did: true when it is good (and is `fd` from now on), false when
 * there was nothing new or it was refused, which is logged. */
bool published_check(struct published *p);
/* The newest good one, checked; borrowed until the next call. */
int published_fd(struct published *p);
void published_fini(struct published *p);

#endif
