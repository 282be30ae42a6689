/* members: the processes of the `process` actuator. The orchestrator says which cartridge, which id and which
 * variables; command, user, folder and time-outs come from the master's own config. Each member leads a
 * session of its own, and signals go to the whole process group. They outlive orchestrator, proxies, reloads
 * and upgrades. */
#ifndef COX_MASTER_MEMBERS_H
#define COX_MASTER_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/str.h"
#include "conf/options.h"
#include "run/channel.h"
#include "run/loop.h"

#define MEMBERS_MAX             1024
#define MEMBER_VARS_MAX         128
#define MEMBER_LINE_MAX         1024 /* of its output; longer ones are cut in pieces */
#define MEMBER_LINES_PER_SECOND 200

struct master;

struct member_process {
    uint32_t magic;
    struct list node;
    struct master *master; /* borrowed */
    char *id, *cartridge;  /* owned */
    struct vars vars;      /* as the orchestrator sent them; owned */
    pid_t pid;
    uint64_t since_wall_ns;
    bool stopping;
    bool has_failed; /* it could not be executed, and that was told: only its end is waited for */
    int status_fd;   /* owned; says how its exec went; -1: that is known */
    struct watch status;
    struct timer slow; /* its start is told although nobody knows yet */
    struct timer kill; /* SIGKILL when it does not leave */
    int output_fd;     /* owned; -1 when it closed its end */
    struct watch output;
    char line[MEMBER_LINE_MAX];
    size_t line_len;
    uint64_t second; /* of the line limit */
    unsigned lines, left_out;
};

struct members {
    struct list all;
    unsigned count;
};

void member_table_init(struct master *m);
/* Lets go of those that are left; their processes were ended before. */
void member_table_fini(struct master *m);
/* Messages of the orchestrator. */
void members_on_start(struct master *m, struct str payload);
void members_on_stop(struct master *m, struct str payload);
void members_send_list(struct master *m);
/* Stops every member by its cartridge's signal and time-out. */
void members_stop_all(struct master *m);
void members_kill_all(struct master *m);
/* Before the program is replaced: what is being executed counts as started. */
void members_settle(struct master *m);
bool members_has_pid(const struct master *m, pid_t pid);
void members_on_exit(struct master *m, pid_t pid, int status);
/* From a former executable; takes vars over. */
void members_adopt(struct master *m, struct str id, struct str cartridge, pid_t pid, int output_fd,
                   struct vars *vars, uint64_t since_wall_ns);
void member_vars_add(struct vars *v, struct str name, struct str value);
void member_vars_release(struct vars *v);
/* Replaces $NAME and ${NAME} by values of the variables; unknown names stay as they are, "$$" is one dollar
 * sign. The caller frees. */
char *member_expand(const char *text, const struct vars *vars);

#endif
