/* scale_priv: what the files of the scaling loop share; nobody else includes it but its tests. */
#ifndef COX_ORCH_SCALE_PRIV_H
#define COX_ORCH_SCALE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include <coxswain/plugin.h>

#include "base/list.h"
#include "orch/loader.h"
#include "orch/scale.h"
#include "orch/schema.h"

#define SCALE_PARTITIONS_MAX 256
#define SCALE_FACTORS_MAX    16
#define SCALE_KEEP_BYTES     (8u << 20)
#define SCALE_RING_BYTES     (16u << 20)              /* of decisions that are kept */
#define SCALE_CALM_RATE      (SCALE_RING_BYTES / 300) /* bytes a second of records that change nothing */
#define SCALE_CALM_BURST     (1u << 20)
#define SCALE_TURNS          100        /* what is done seldom is spread over so many ticks */
#define SCALE_STATE_MAX      (1u << 20) /* bytes of one scaler's state of one set */

/* The words that are added up; the integrals first. */
enum scale_word {
    WORD_HELD_NS,
    WORD_SERVING_NS,
    WORD_FINISHING_NS,
    WORD_TUNNELS_NS,
    WORD_ARRIVALS,
    WORD_COMPLETED,
    WORD_FAILED,
    WORD_REJECTED,
    WORD_ABANDONED,
    WORD_SERVICE_COUNT,
    WORD_SERVICE_SUM,
    WORD_SERVICE_SQUARE,
    WORD_WAITED,
    WORD_SERVICE, /* LEDGER_SERVICE_BUCKETS of them */
    WORDS = WORD_SERVICE + LEDGER_SERVICE_BUCKETS
};

/* A policy: one scaler with its options. */
struct scaler {
    struct module module;
    struct schema_values values;
    const struct cox_scaler *ops; /* borrowed from module; NULL: left out, or it could not be loaded */
    const char *name, *plugin;    /* borrowed from settings */
    const char *source;           /* likewise: what its policy calls the plugin, and who is blamed for it */
    uint64_t state_bytes;
    uint64_t fingerprint;  /* of plugin, its version and options: the same decides the same */
    uint64_t options_hash; /* of plugin and options alone: its state means the same */
    uint64_t window_ns;    /* the longest that its options name */
};

struct scale_cluster {
    const char *id; /* borrowed from the set */
    uint32_t slot;
    bool has_last;
    uint64_t last[WORDS];  /* as it was read last */
    uint64_t backwards_ns; /* since when less is read than was; 0: it is not */
};

/* One metric of one member, from host->report. */
struct scale_report {
    struct list node; /* of set->reports */
    char *key;        /* owned: a character for the metric, and whom it is of */
    uint32_t metric;  /* index in scale->metrics */
    double value;
    uint64_t at_ns;
};

/* From the request that woke a set to the first one that a new member served. Wall times, 0: not yet. */
struct scale_chain {
    char origin[SCALE_ORIGIN_MAX];
    uint64_t woken_ns, decided_ns, created_ns, active_ns, served_ns;
    uint64_t decision, ticket, served_base; /* served_base: what its endpoints had served for others before */
    char member[128], endpoint[ADDR_TEXT_BYTES];
    bool is_open;
};

struct scale_set {
    struct member_set *set;                 /* borrowed */
    const struct scaling_settings *scaling; /* borrowed; NULL: none */
    struct scaler *policy;                  /* borrowed; NULL: none, or left out */
    bool is_left_out;                       /* its policy is: the count stays as it is */
    struct scale_cluster *clusters;         /* owned */
    size_t cluster_count;
    uint8_t *state; /* owned; policy->state_bytes of it; NULL: no policy */
    /* what was counted */
    uint64_t epoch, totals[WORDS], ready_carry_ns; /* ready_carry_ns: from before this process */
    uint64_t before[WORD_SERVICE], before_ns;      /* of the sample before; before_ns 0: none */
    uint64_t idle_since_ns, held_since_ns;         /* 0: something is in flight; nothing is held */
    uint64_t first_ns; /* when this process first sampled it without a recovered state; 0: recovered */
    uint64_t fine_ns;  /* when histograms were read last */
    uint64_t *latency; /* owned; as of fine_ns; NULL: nothing was completed lately */
    double latency_p[3];
    /* facts, kept until the set changes */
    uint64_t facts_changes, facts_ns;
    bool has_facts;
    struct member_facts facts;
    uint64_t created_ns[MEMBERS_STARTS_MAX];
    struct partition_facts *partitions; /* owned */
    /* the count */
    bool has_count; /* the engine has said how many, at least once */
    uint32_t count;
    double wanted; /* NaN: no answer yet */
    struct cox_decision decision;
    char why[192];
    uint32_t cause;
    const char *why_not; /* it may not shrink; NULL: it may */
    bool is_short;       /* more are wanted than there may be */
    bool has_hand;
    uint32_t hand, schedule_floor;
    uint64_t hand_until_wall_ns, schedule_minute; /* schedule_minute: for which schedule_floor holds */
    uint64_t changed_ns, changed_wall_ns, logged_ns;
    /* when */
    uint64_t sampled_ns, due_ns;
    uint64_t woken_ns; /* a request that found nobody made it due then; 0: none did */
    enum scale_early early;
    char origin[SCALE_ORIGIN_MAX]; /* of the request behind `early` */
    bool is_changed;               /* since it was saved */
    struct list reports;           /* owned */
    struct index reports_by;       /* key */
    uint64_t samples, decisions, ups, downs, causes[16];
    struct scale_chain chain;
};

/* One glance a cluster, in an array of its own: what idle sets cost. */
struct scale_watch {
    uint32_t slot, set;
    uint64_t arrivals;
};

struct scale_log;

/* A written file on its way to its place. */
struct scale_keep {
    pthread_t thread;
    bool is_busy, has_thread;
    int fd;             /* owned while it is busy, and so are the paths */
    char *fresh, *path; /* from where to where */
    /* An errno, or below 0 while the thread is at work. It stores the result last; who loads it (acquire) may
     * then end it without waiting. */
    _Atomic int result;
};

/* With one policy for all sets, borrowed, that no plugin brought: for tests. NULL: those of the settings. */
struct scale *scale_create_with(const struct scale_args *args, struct scaler *only, struct buf *errors)
    __attribute__((warn_unused_result));

struct scale {
    struct scaler *only; /* borrowed; of scale_create_with */
    const struct settings *settings;
    struct members *members;
    const struct scale_ops *ops;
    void *ctx;
    char *incarnation;
    struct scaler *policies; /* owned */
    size_t policy_count;
    struct scale_set *sets; /* owned */
    size_t set_count;
    struct scale_watch *watches; /* owned; in the order of the sets */
    size_t watch_count;
    struct {
        const char *name; /* borrowed: id of a set or of a cluster */
        uint32_t set;
    } * index; /* owned; open addressing */
    size_t index_size;
    bool has_slots; /* every cluster is counted somewhere */
    char *metrics[SCALE_FACTORS_MAX];
    size_t metric_count;
    char *dir; /* owned; NULL: nothing is kept */
    uint64_t begun_ns, saved_ns, save_every_ns;
    struct scale_saving {
        int fd;      /* of the file that is being written; -1: none is */
        size_t next; /* set */
        uint64_t bytes, hash;
        struct buf slice;
    } saving;
    struct scale_keep keep;
    bool is_unsaved, are_hands_unsaved;
    struct scale_sources sources; /* as of this tick */
    uint64_t keep_bytes;          /* of states that may still be copied in this tick */
    struct scale_log *log;        /* owned */
    struct {
        uint64_t bytes; /* of records that change nothing, which may still be written now */
        uint64_t at_ns; /* when they were counted last */
        size_t from;    /* the first set whose turn it is */
        bool was_used;  /* in this tick */
    } calm;
    uint64_t epochs; /* given out */
    int32_t utc_offset_s;
};

/* scale_policy.c */
bool scaler_open(struct scaler *p, const struct settings *s, const struct plugin_settings *policy,
                 const char *dir, struct buf *errors) __attribute__((warn_unused_result));
void scaler_close(struct scaler *p);
uint64_t scale_hash(uint64_t seed, const void *bytes, size_t n);
/* For blocks of kilobytes, thousands of times a second. */
uint64_t scale_checksum(const void *bytes, size_t n);
extern const struct cox_math scale_math;

/* scale_sample.c: a sample of this moment. Arrays live in *room. */
struct scale_room {
    uint64_t ages[MEMBERS_STARTS_MAX];
    struct cox_partition_count partitions[SCALE_PARTITIONS_MAX];
    char names[SCALE_PARTITIONS_MAX][64];
    struct cox_factor factors[SCALE_FACTORS_MAX];
    char metrics[SCALE_FACTORS_MAX][64]; /* names, of a sample that was read back */
};
void scale_gather(struct scale *s, struct scale_set *set, uint64_t now, struct scale_room *room,
                  struct cox_sample *out);
/* The sample was used: the next one's window begins with it. */
void scale_advance(struct scale_set *set, const struct cox_sample *sample);
void scale_refresh_facts(struct scale *s, struct scale_set *set, uint64_t now);

/* scale_decide.c: from a sample to the count. */
/* A tick begins. */
void scale_decide_begin(struct scale *s, uint64_t now);
void scale_decide(struct scale *s, struct scale_set *set, const struct cox_sample *sample);
/* Calls the scaler; everything of *out that it leaves alone is empty. */
void scaler_ask(const struct scaler *p, void *state, const struct cox_sample *sample,
                struct cox_decision *out);
/* NULL: it may, or why not. */
const char *scale_may_not_shrink(const struct scale_set *set, const struct cox_sample *sample);
uint32_t scale_floor(const struct scale_set *set, uint32_t *out_origin);
uint32_t scale_round(double wanted);

/* scale_schedule.c */
uint32_t scale_schedule_floor(const struct scaling_settings *scaling, uint64_t wall_ns);

/* scale_factors.c */
uint32_t scale_factors(struct scale *s, struct scale_set *set, uint64_t now, struct cox_factor *out);
void scale_forget_reports(struct scale_set *set);
/* Those of one member, which is gone or leaves: what it said is no reason for anything any more. */
void scale_drop_reports(const struct scale *s, struct scale_set *set, const char *member);
/* Whether a member in its state counts for the means. */
bool scale_heeds_reports(const struct member *m);
/* The metrics that the policies look at have their places, whatever else is reported first. */
void scale_know_metrics(struct scale *s);

/* scale_state.c */
void scale_restore(struct scale *s);
/* Whole, at once. */
void scale_save(struct scale *s, uint64_t now);
/* When it is time: a slice of it in each tick, as long as it takes. */
void scale_save_some(struct scale *s, uint64_t now);
void scale_save_stop(struct scale *s);

/* scale_keep.c: takes the descriptor; when it is on the disk `fresh` is renamed to `path`. One at a time. */
void scale_keep_start(struct scale_keep *k, int fd, const char *fresh, const char *path);
bool scale_keep_is_at_work(const struct scale_keep *k);
/* Waits for it, if there is one; an errno, 0: it is in its place. */
int scale_keep_end(struct scale_keep *k);

/* scale_hands.c: what people have set; on disk before it returns. */
void scale_save_hands(struct scale *s);
/* state_wall_ns: when the scale.state that was read began to be written, 0: none was. */
void scale_restore_hands(struct scale *s, uint64_t state_wall_ns);

/* scale_chain.c */
void scale_chain_wake(struct scale *s, struct scale_set *set, struct str origin);
void scale_chain_decided(struct scale *s, struct scale_set *set, uint64_t number);
void scale_chain_step(struct scale *s, struct scale_set *set);

/* scale_find.c */
void scale_index(struct scale *s);
/* By the id of the set or of one of its clusters; scale_find: also by an alias that only one has. */
struct scale_set *scale_find_id(struct scale *s, struct str name);
struct scale_set *scale_find(struct scale *s, struct str name);

#endif
