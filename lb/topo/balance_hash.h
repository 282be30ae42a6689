/* balance_hash: the ring of a cluster with balance = "consistent_hash". Built once by cluster_build;
 * immutable. */
#ifndef COX_TOPO_BALANCE_HASH_H
#define COX_TOPO_BALANCE_HASH_H

#include "topo/topology.h"

/* After the candidates are known. */
void ring_build(struct cluster *c);

#endif
