/* syslog: log lines as messages to a syslog server, each a datagram; the server may be slow, away or full:
 * what it does not take at once is the caller's to count. Nothing here waits.
 *
 * Over UDP they are messages of RFC 5424. A unix socket is where syslog(3) writes, and those who listen there
 * (journald, rsyslog's imuxsock as it comes) understand its form only: priority, local time, tag.
 *
 * A target is set up once by its process and then only read, so any thread may send. The descriptor is
 * borrowed, a datagram socket that was never connected: a server that is started again is found again. */
#ifndef COX_BASE_SYSLOG_H
#define COX_BASE_SYSLOG_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/str.h"

/* What is longer is cut: servers take 8 KiB by default, some less (RFC 5424 6.1). */
#define SYSLOG_TEXT_MAX   8000
#define SYSLOG_HEAD_BYTES 384

enum syslog_severity { SYSLOG_ERROR = 3, SYSLOG_WARNING = 4, SYSLOG_INFO = 6, SYSLOG_DEBUG = 7 };

struct syslog {
    int fd; /* -1: no target */
    int facility;
    struct sockaddr_storage to;
    socklen_t to_len;
    char host[256]; /* of this machine; "-" when it has no sayable name */
};

void syslog_init(struct syslog *s, int fd, const struct sockaddr *to, socklen_t to_len, int facility);
/* "<134>1 2026-01-02T03:04:05.678901Z host coxswain 42 id - " for now, or "<134>Jan  2 03:04:05 coxswain[42]:
 * " to a unix socket; at most SYSLOG_HEAD_BYTES. Returns its length. id: what kind of line it is (MSGID),
 * printable, at most 32 bytes; to a unix socket the tag of "access" is "coxswain/access", others have their
 * severity. */
size_t syslog_head(const struct syslog *s, enum syslog_severity severity, const char *id, char *to);
/* False: it was not taken. errno EAGAIN: the server is busy, the same may go later. */
bool syslog_send(const struct syslog *s, struct str head, struct str text)
    __attribute__((warn_unused_result));

#endif
