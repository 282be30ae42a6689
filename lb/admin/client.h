/* client: one request to the master's control socket and its answer. Used by coxctl. */
#ifndef COX_ADMIN_CLIENT_H
#define COX_ADMIN_CLIENT_H

#include <stdbool.h>

#include "base/str.h"

#define CLIENT_FDS_MAX    64
#define CLIENT_ANSWER_MAX (1u << 20)

struct client {
    int fd;
    char *answer;            /* owned */
    struct str text;         /* what follows the first line; borrowed from answer */
    bool ok;                 /* the first line was "ok" */
    int fds[CLIENT_FDS_MAX]; /* owned until taken (set to -1) */
    int fd_count;
};

/* False with errno when nobody listens there. */
bool client_open(struct client *c, const char *socket_path) __attribute__((warn_unused_result));
/* Sends and waits for the answer; false when the connection ends or timeout_s passes first. */
bool client_ask(struct client *c, const char *request, int timeout_s) __attribute__((warn_unused_result));
/* Waits until the master closes: it has left. */
void client_wait_end(struct client *c);
void client_close(struct client *c);

#endif
