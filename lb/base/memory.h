/* memory: a word with the allocator. */
#ifndef COX_BASE_MEMORY_H
#define COX_BASE_MEMORY_H

/* Once a second from every thread that has a loop: hands memory that was freed some ten seconds ago back to
 * the system. An allocator that purges by the way (jemalloc) would wait for further calls, and an idle
 * process makes none: what a crowd of clients or a large topology took would stay. Does nothing with other
 * allocators. */
void memory_decay(void);

#endif
