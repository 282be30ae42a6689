/* mock: the inside of the plugin, shared by its files.
 *
 *   mock.c     the actuator: starts, lives and ends by timers
 *   counts.c   the same as a platform that is told a number: the plugin mock_count
 *   script.c   what happens to each start, how long it takes, and which addresses there are
 *   people.c   the members, by id
 *   journal.c  a file that remembers them when the orchestrator is gone: it stands for the platform
 *
 * Everything belongs to one instance and lives on the orchestrator's thread. */
#ifndef PLUGIN_MOCK_H
#define PLUGIN_MOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <coxswain/plugin.h>

#define PORTS_MAX     32
#define ADDRESSES_MAX 65536u
#define FATES_MAX     4096u
#define MEMBERS_MAX   1048576u
#define LINE_BYTES    4096

struct instance;

enum fate_kind { FATE_OK, FATE_FAIL, FATE_FINAL, FATE_NO_CAPACITY, FATE_NEVER, FATE_DIE, FATE_SLOW };

struct fate {
    enum fate_kind kind;
    uint64_t ms; /* DIE: after it ran for so long; SLOW: its start takes so long */
};

/* Addresses given out; in use by `users` members. */
struct address {
    char *text; /* owned */
    uint32_t users;
};

struct script {
    struct fate *fates; /* owned */
    uint32_t fate_count, starts;
    bool repeats;
    struct address *addresses; /* owned */
    uint32_t address_count, used_count, cursor;
    bool shares;
    double start_ms, spread;
    uint64_t random; /* state of the generator */
};

/* Reads the options; false after host->error. script_fini in either case. */
bool script_init(struct script *s, const struct cox_host *host, const struct cox_options *options);
void script_fini(struct script *s);
/* What happens to the next start. */
struct fate script_next(struct script *s);
/* How long a start takes, in milliseconds. */
uint64_t script_start_ms(struct script *s, const struct cox_math *math);
/* Index of an address; UINT32_MAX: all are in use, and they are not shared. */
uint32_t script_take_address(struct script *s);
/* The one with this text, taken once more; UINT32_MAX: there is none like it. */
uint32_t script_claim_address(struct script *s, const char *text);
void script_give_address(struct script *s, uint32_t address);

enum {
    OPTION_ADDRESSES,
    OPTION_SHARE,
    OPTION_START_TIME,
    OPTION_START_SPREAD,
    OPTION_SEED,
    OPTION_STOP_TIME,
    OPTION_AT_ONCE,
    OPTION_CAPACITY,
    OPTION_SCRIPT,
    OPTION_REPEAT,
    OPTION_STATE,
    OPTION_REPORTS,
    OPTION_REPORT_INTERVAL
};

struct port {
    char *name;       /* owned */
    char *text;       /* owned: its address */
    uint32_t address; /* in script.addresses; UINT32_MAX: of an earlier list */
};

struct member {
    struct member *next; /* in its bucket */
    struct instance *instance;
    char *id, *set, *partition, *network;      /* owned; the last two "" for none */
    uint64_t run_at_ms, die_at_ms, gone_at_ms; /* by the wall clock; 0: never */
    uint64_t stop_ticket;
    bool runs;
    struct cox_timer *timer; /* what happens next */
    struct port ports[PORTS_MAX];
    uint32_t port_count;
};

struct people {
    struct member **buckets; /* owned */
    uint32_t bucket_count, count;
};

/* NULL: no memory, or too many. */
struct member *people_add(struct people *p, const char *id, const char *set, const char *partition,
                          const char *network);
struct member *people_find(const struct people *p, const char *id);
/* Takes it out and frees it; its timer and addresses are the caller's business. */
void people_remove(struct people *p, struct member *m);
/* The one after m; with m NULL and *bucket 0 the first. NULL at the end. Ask for the next before the last is
 * removed. */
struct member *people_next(const struct people *p, uint32_t *bucket, struct member *m);
void people_fini(struct people *p);

struct instance {
    const struct cox_host *host;
    const struct cox_options *options; /* borrowed until close */
    struct script script;
    struct people people;
    int journal; /* descriptor; -1: none */
    uint32_t capacity;
    uint64_t stop_ms;
    bool tells_at_once;
    struct cox_timer *reports;
    struct cox_timer *listing; /* NULL: the list has been told */
    uint32_t list_bucket;
};

/* Makes a member with this id, or not: the result of a ticket, and why. */
uint32_t mock_make(struct instance *p, const struct cox_member_spec *spec, const char **out_why);
/* It goes after stop_time, and then the ticket (0: none) is done; with at_once it has gone, and is freed,
 * when this returns. False: that cannot be written down. */
bool mock_end(struct member *m, uint64_t ticket);
int32_t mock_set_count(void *instance, uint64_t ticket, const struct cox_count_target *target);

/* Reads what the file has and opens it for more; true without a file. False after host->error. */
bool journal_open(struct instance *p, const char *path);
void journal_close(struct instance *p);
/* What happened to a member; false when it cannot be written: then it must not happen. */
/* For whoever measures; nothing depends on it. */
void journal_asked(struct instance *p, const char *id);
bool journal_start(struct instance *p, const struct member *m);
bool journal_stop(struct instance *p, const struct member *m);
void journal_gone(struct instance *p, const struct member *m);

#endif
