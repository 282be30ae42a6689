/* control: the master's unix socket, for coxctl. Mode 0600: whoever may open it is the owner.
 *
 * SOCK_SEQPACKET; a request is one message of text, the answer one message that begins with "ok" or "error".
 *
 *   status            ok, then lines "word value…"; descriptors in the order of the line "fds topology past
 * ledger:N…" reload            answered when the reload has ended, with its errors upgrade           answered
 * by the new executable, or with why not drain M, undrain M  handed to the orchestrator; answered within 5 s
 *   stop              answered at once; the connection ends with the process
 *   version */
#ifndef COX_MASTER_CONTROL_H
#define COX_MASTER_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "run/loop.h"

#define CONTROL_CLIENTS_MAX      32
#define CONTROL_REQUEST_MAX      1024
#define CONTROL_FDS_MAX          64
#define CONTROL_ADMIN_TIMEOUT_MS 5000

struct master;

struct control_client {
    uint32_t magic;
    struct list node;
    struct master *master; /* borrowed */
    int fd;                /* owned */
    struct watch watch;
    uint64_t waits_reload; /* serial, or 0 */
    uint64_t waits_admin;  /* request id, or 0 */
    bool waits_upgrade;
    struct timer timeout;
};

struct control {
    char *path; /* owned */
    int fd;     /* listening, or -1 */
    struct watch watch;
    struct list clients;
    unsigned client_count;
    uint64_t last_request;
};

/* Makes the folder if it is missing; a live instance at that path is an error. */
bool control_start(struct master *m, const char *path, struct buf *error) __attribute__((warn_unused_result));
/* From a former executable: its listening socket, and the client that asked for the upgrade (or -1). */
void control_adopt(struct master *m, const char *path, int fd, int waiting_fd);
void control_stop(struct master *m, bool unlink_path);
/* Reports that clients may wait for. */
void control_on_reload_done(struct master *m, uint64_t serial, bool ok, struct str text);
void control_on_admin_answer(struct master *m, uint64_t request, struct str text);
void control_on_upgrade_failed(struct master *m, const char *why);
/* The descriptor of a client that waits for the upgrade, -1: none. */
int control_upgrade_waiter(const struct master *m);
void control_answer(struct control_client *c, struct str text, const int *fds, int fd_count);
/* control_status.c */
void control_status(struct control_client *c);

#endif
