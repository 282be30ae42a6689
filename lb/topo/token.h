/* token: what a sticky cookie says: 128 bits of a keyed hash of cluster id and endpoint id, in hexadecimal.
 *
 * It is made once for each endpoint when a cluster comes into the proxy, so a request costs one look-up and
 * no hashing. Nobody without the secret can make one or learn anything from one; a token that is not in the
 * table, whatever the reason, is as good as none. Immutable once the cluster is published. */
#ifndef COX_TOPO_TOKEN_H
#define COX_TOPO_TOKEN_H

#include "topo/topology.h"

#define TOKEN_TEXT_BYTES 32

struct token {
    uint64_t high, low;
};

struct token_table {
    uint32_t count;
    uint32_t *order;  /* behind v: endpoint indexes, sorted by token */
    struct token v[]; /* by endpoint index */
};

/* Makes the tables of all sticky clusters of a topology that have none yet. Before it is published, by the
 * thread that owns it. False when some cluster is sticky but there is no secret, or hashing failed: it is not
 * sticky then. */
bool topology_sign(struct topology *t, struct str secret);

/* The index of the endpoint, or -1. */
int token_find(const struct cluster *c, struct str text);
void token_text(const struct cluster *c, uint32_t endpoint, char to[TOKEN_TEXT_BYTES]);

#endif
