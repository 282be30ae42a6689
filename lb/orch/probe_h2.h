/* probe_h2: health probes in HTTP/2 (prior knowledge): a GET that is judged by its status, and the health
 * check of gRPC (grpc.health.v1.Health/Check). The same contract as probe_talk.h. Pure: what came so far is
 * read from its beginning each time. */
#ifndef COX_ORCH_PROBE_H2_H
#define COX_ORCH_PROBE_H2_H

#include "orch/probe_talk.h"

size_t probe_h2_request(const struct probe_settings *s, char *to, size_t cap);
enum probe_verdict probe_h2_judge(const struct probe_settings *s, struct str answer, bool is_end,
                                  const char **out_why);

#endif
