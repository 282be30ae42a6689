/* paths: places that several programs must agree on. Control plane; any thread. */
#ifndef COX_BASE_PATHS_H
#define COX_BASE_PATHS_H

/* Where the master's control socket is when nobody says: /run/coxswain/control.sock for root, else
 * $XDG_RUNTIME_DIR/coxswain/control.sock, else /tmp/coxswain-UID/control.sock. The caller frees. */
char *control_default(void);

#endif
