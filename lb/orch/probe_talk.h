/* probe_talk: what a health probe says and what it makes of the answer. Pure: no socket, no clock.
 *
 * TCP says nothing: a connection is the answer. HTTP sends one GET and judges the status; FastCGI sends one
 * request for a script name (php-fpm's ping.path or pm.status_path) and judges the CGI status, 200 when there
 * is none. */
#ifndef COX_ORCH_PROBE_TALK_H
#define COX_ORCH_PROBE_TALK_H

#include "conf/settings.h"

#define PROBE_REQUEST_MAX 2048
#define PROBE_ANSWER_MAX  16384

enum probe_verdict { PROBE_MORE, PROBE_GOOD, PROBE_BAD };

/* The bytes to send; 0 when they do not fit. */
size_t probe_request(const struct probe_settings *s, char *to, size_t cap);
/* Looks at all that came so far; `is_end`: nothing more will come. *out_why (static) says what is wrong. */
enum probe_verdict probe_judge(const struct probe_settings *s, struct str answer, bool is_end,
                               const char **out_why);

#endif
