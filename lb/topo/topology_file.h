/* topology_file: the last topology in the folder `state_dir`, for a start of everything.
 *
 * A line of text ("coxswain-topology VERSION BYTES CHECKSUM"), then what topology_encode made. Written whole
 * beside the old one and renamed over it, but not forced to the disk: nobody may wait for a disk here, and
 * after a loss of power the checksum tells a torn file. Any thread; nothing is kept open. */
#ifndef COX_TOPO_TOPOLOGY_FILE_H
#define COX_TOPO_TOPOLOGY_FILE_H

#include "base/buf.h"
#include "topo/topology.h"

#define TOPOLOGY_FILE_VERSION   1
#define TOPOLOGY_FILE_BYTES_MAX (256u << 20)

/* `encoded`: of topology_encode. False with errno. */
bool topology_file_write(const char *dir, struct str encoded) __attribute__((warn_unused_result));
/* A new reference; NULL when there is none (*error empty) or it cannot be used (*error says why). */
struct topology *topology_file_read(const char *dir, struct buf *error) __attribute__((warn_unused_result));

#endif
