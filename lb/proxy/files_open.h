/* files_open: opens a file beneath a root, whatever its name says; and which names are never served.
 *
 * The kernel resolves the path (openat2, RESOLVE_BENEATH): neither "..", nor an absolute path, nor a symbolic
 * link leads out, also when somebody moves folders meanwhile. Links that stay inside are followed. Where the
 * kernel has no openat2 (or a sandbox forbids it) the path is walked folder by folder and no link is followed
 * at all. Any thread. */
#ifndef COX_PROXY_FILES_OPEN_H
#define COX_PROXY_FILES_OPEN_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/str.h"
#include "conf/options.h"

/* Longest path beneath a root. */
#define FILES_PATH_MAX 2048

enum files_kind {
    FILES_ABSENT,    /* nothing there, or it leads out of the root, or no regular file and no folder */
    FILES_REGULAR,   /* *out_fd is open for reading; the caller's */
    FILES_DIRECTORY, /* *out_fd is -1 */
    FILES_REFUSED,   /* no permission */
    FILES_TROUBLE    /* out of descriptors or memory */
};

/* Roots that are open already, so that not every request opens one anew. One for each worker, zeroed at
 * first; touched by its thread only. A root is looked up again after a second at most (files_roots_forget,
 * from the worker's tick), and once more when a file is not found beneath it: a deployment may have put
 * another folder, or link, in its place. */
#define FILES_ROOTS_KEPT 8
struct files_roots {
    struct files_root {
        char *path;      /* owned */
        int fd;          /* owned */
        bool was_missed; /* opened because a file was missed: no need to do so again before it is forgotten */
    } v[FILES_ROOTS_KEPT];
    unsigned count;
};
void files_roots_forget(struct files_roots *r);
/* files_open with a root that may be open already. */
enum files_kind files_open_kept(struct files_roots *r, const char *root, struct str path,
                                struct stat *out_stat, int *out_fd) __attribute__((warn_unused_result));

/* path: decoded, relative to root; slashes at its front are skipped. *out_fd is -1 unless FILES_REGULAR. */
enum files_kind files_open(const char *root, struct str path, struct stat *out_stat, int *out_fd)
    __attribute__((warn_unused_result));
/* The same by the walk alone: for systems without openat2, and for the test that both agree. */
enum files_kind files_open_walk(const char *root, struct str path, struct stat *out_stat, int *out_fd)
    __attribute__((warn_unused_result));

/* Never served: a segment that begins with a dot (but "/.well-known/…" of RFC 8615), or one of these suffixes
 * in any case of letters. path is decoded. */
bool files_is_denied(const struct strings *suffixes, struct str path);

#endif
