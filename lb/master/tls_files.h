/* tls_files: what the master does for TLS, without knowing any: it reads the files while it has the right to,
 * looks whether they have changed, and makes and rotates the keys of session tickets. All of it goes to
 * proxies alone.
 *
 * A change must stand still for one more look before the files are read again: certificate and key are seldom
 * replaced in one instant. Whether they fit together is for the proxy to find out; it keeps what it had when
 * not. */
#ifndef COX_MASTER_TLS_FILES_H
#define COX_MASTER_TLS_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "conf/settings.h"
#include "run/loop.h"
#include "run/tickets.h"

struct master;

struct tls_files {
    int fd;                  /* owned; sealed: the files of the settings in force (run/bundle.h) */
    uint64_t seen, changing; /* fingerprints of the files as read, and as last looked at */
    struct timer look, rotate;
    struct ticket_keys tickets; /* secret */
    bool has_tickets;
    struct buf certificates; /* what the newest proxy says about its certificates: CHANNEL_CERTIFICATES */
};

/* Reads the files; false with lines in *errors. */
bool tls_files_load(struct tls_files *f, const struct settings *s, struct buf *errors);
/* Once the loop is there: begins to look and to rotate. */
void tls_files_start(struct master *m);
/* A bundle of what the orchestrator's probes need; the caller closes. -1: said in the log. */
int tls_files_for_probes(const struct settings *s);
/* After a reload: these settings are in force, and fd has their files. */
void tls_files_take(struct master *m, int fd);
/* One line for each certificate, for coxctl: "certificate END KEPT LISTENER HOST FILE". */
void tls_files_status(const struct tls_files *f, struct buf *out);
void tls_files_fini(struct tls_files *f);

#endif
