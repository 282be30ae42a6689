/* crash: a dying child writes its stacks to the error log. Installed in children only.
 *
 * The watchdog of the master sends SIGABRT to a child that hangs; which thread gets it is chance, so the
 * handler then asks every thread of the process for its stack. Uses backtrace(3), warmed up beforehand
 * because its first call loads a library. */
#ifndef COX_MASTER_CRASH_H
#define COX_MASTER_CRASH_H

/* fd: where stacks go. Call once in a child, before threads exist. */
void crash_init(int fd);

#endif
