/* fcgi_params: what a FastCGI server is told about a request, as name-value pairs (RFC 3875 4.1 and what PHP
 * expects).
 *
 * Rows F1 to F5, F8, F9 and H37 of the hostile-input table are decided here. Pure but for the arena of the
 * exchange that texts are made in; no socket, no clock. Worker's thread. */
#ifndef COX_PROXY_FCGI_PARAMS_H
#define COX_PROXY_FCGI_PARAMS_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/reason.h"
#include "conf/settings.h"
#include "http/h1_write.h"

/* The names that say which script runs; all borrowed from settings or in the arena. */
struct fcgi_script {
    struct str file; /* SCRIPT_FILENAME */
    struct str name; /* SCRIPT_NAME, begins with '/' */
    struct str info; /* PATH_INFO; empty: none is sent */
    struct str uri;  /* DOCUMENT_URI */
};

/* Finds the script for a normalised path that is still percent-encoded.
 * Mode front: always the index; no byte of the path names a file. Mode script: the first segment that ends in
 * ".php", byte for byte, is the script and what follows PATH_INFO; a path that ends in '/' means the index
 * there; a path without a script means the index of the root. REASON_OK, REASON_PATH (an escape that decodes
 * to a control byte or, in mode script, to '?'), REASON_NO_MEMORY. */
enum reason fcgi_find_script(const struct fcgi_settings *s, struct str path, struct arena *arena,
                             struct fcgi_script *out) __attribute__((warn_unused_result));

struct fcgi_pair {
    struct str name, value;
    bool done; /* its value stands in an earlier one of the same name */
};

/* Everything the parameters are made of. Texts may be empty. */
struct fcgi_request {
    const struct fcgi_settings *settings;
    struct fcgi_script script;
    struct str method, uri, query, protocol, scheme, authority;
    struct str content_type, content_length, client_ip, server_ip;
    uint16_t client_port, server_port;
    const struct fcgi_pair *fields; /* request fields under their own names, in order, merged */
    size_t field_count;
};

/* Makes one of all fields of a name (F8), in order: joined by ", ", or "; " for Cookie (RFC 6265 5.4). False
 * when the arena is out. */
bool fcgi_merge_fields(struct fcgi_pair *fields, size_t count, struct arena *arena)
    __attribute__((warn_unused_result));

/* Bytes that are surely enough for fcgi_write_params. */
size_t fcgi_params_bound(const struct fcgi_request *r);
/* Appends all pairs. The config's own params win over ours of the same name (F9: only the config names any).
 */
void fcgi_write_params(const struct fcgi_request *r, struct writer *w);

/* Is this field told to the script as HTTP_*? Only names of letters, digits and '-' (H37: X_Y and X-Y would
 * be one), never Proxy (httpoxy), Content-Type, Content-Length, credentials for proxies, or what is the
 * connection's own. */
bool fcgi_field_passes(struct str name);

#endif
