/* sd_notify: tells a service manager our state over the datagram socket named by NOTIFY_SOCKET; without that
 * variable nothing happens. Spoken by hand: the protocol is one datagram of KEY=VALUE lines. */
#ifndef COX_MASTER_SD_NOTIFY_H
#define COX_MASTER_SD_NOTIFY_H

void sd_notify_ready(const char *status);
void sd_notify_reloading(void);
void sd_notify_stopping(void);

#endif
