/* memory: a word with the allocator. */
#ifndef COX_BASE_MEMORY_H
#define COX_BASE_MEMORY_H

/* Hands memory that the calling thread has freed back to the system at once, where the allocator can
 * (jemalloc); else does nothing. Costs system calls: for after a crowd has left, not for every day. */
void memory_release(void);

#endif
