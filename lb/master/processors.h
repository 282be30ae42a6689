/* processors: how many workers `workers = 0` means: processors in the affinity mask, bounded by the cgroup's
 * quota. */
#ifndef COX_MASTER_PROCESSORS_H
#define COX_MASTER_PROCESSORS_H

/* At least 1, at most WORKERS_MAX. */
#define WORKERS_MAX 256
int processors_usable(void);

#endif
