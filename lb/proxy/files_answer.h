/* files_answer: one answer that comes from a file. Made by files_find.c (which file), carried out by
 * back_files.c (how).
 *
 * In the arena of its exchange, x->back_state until it is complete or aborted; then its descriptor is closed.
 * It works from the run queue alone: a file is never blocked for long, and the scratch buffer is free there.
 */
#ifndef COX_PROXY_FILES_ANSWER_H
#define COX_PROXY_FILES_ANSWER_H

#include <sys/stat.h>

#include "proxy/exchange.h"
#include "proxy/files_range.h"

#define FILES_ANSWER_MAGIC 0x66696c65u

struct files_answer {
    uint32_t magic;
    int fd; /* owned; -1: the answer has no body */
    struct run_node run;
    struct exchange *x;
    struct str type, location; /* static; in the arena */
    struct message
        *kept; /* X-Accel-Redirect: the server's answer whose fields go along; in the arena, or NULL */
    uint64_t modified_ns;
    struct files_facts facts;
    struct files_plan plan;
    uint64_t left; /* of plan.size */
    off_t at;
    uint16_t status; /* 301, 405 and the like; 0: the plan decides */
    uint8_t why;     /* enum reason: refused with it instead */
    bool head_sent;
};

/* Becomes x->back_state, with fd -1. NULL when the arena is out. */
struct files_answer *files_answer_create(struct exchange *x) __attribute__((warn_unused_result));
/* Takes over the open file. name: whose suffix tells the type. */
void files_answer_set(struct files_answer *f, int fd, const struct stat *st, struct str name);
/* Begins to answer in the next pass of the run queue. */
void files_answer_start(struct files_answer *f);

#endif
