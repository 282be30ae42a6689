/* prompt: short turns on the processor for a thread that has little to do, and on which others wait.
 *
 * What the orchestrator and the control thread of a proxy do for one change takes a fraction of a
 * millisecond. On a processor that workers keep busy each of them would wait for the end of a worker's time
 * slice first, a few milliseconds altogether. Linux lets a thread ask for shorter slices than usual
 * (sched_setattr, since 6.12): when it wakes up it does not wait for the end of a longer one. It gets no more
 * of the processor than before, and needs no privilege. */
#ifndef COX_RUN_PROMPT_H
#define COX_RUN_PROMPT_H

/* Of the calling thread; threads and processes that it makes have usual turns, and a niceness of 0 if its own
 * is below. Where the kernel does not know this, nothing changes. */
void prompt_thread(void);

#endif
