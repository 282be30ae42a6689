/* guard_settings: what stands between a listener, route or cluster and its servers: who may pass, how often,
 * how many at a time, with whose password, and what those are told who may not.
 *
 * A guard has a name; listeners, routes and clusters refer to it. Part of struct settings: filled by
 * settings_load, which also reads the files that a guard names (so the master does, while it may), immutable
 * from then on. The contents of those files travel nowhere. */
#ifndef COX_CONF_GUARD_SETTINGS_H
#define COX_CONF_GUARD_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/limit.h"
#include "conf/options.h"

struct limit_settings {
    char *client_rate;        /* of one address: "100/s"; NULL: no limit */
    int64_t client_burst;     /* 0: what comes in a second */
    int64_t client_in_flight; /* of one address at a time; 0: no limit */
    char *rate;               /* of all together */
    int64_t burst, in_flight;
    bool dry_run; /* count and log, refuse nobody */
    /* not from the file: the rates as numbers, settings_load has made them */
    struct limit_rate client_bucket, bucket;
};

/* One line of a password file. */
struct basic_user {
    const char *name, *hash; /* in users_text */
};

struct basic_settings {
    char *file; /* htpasswd; NULL: no basic authentication */
    char *realm;
    bool pass;         /* the servers see Authorization */
    uint64_t cache_ms; /* how long a right password is remembered */
    char *attempts;    /* wrong or new passwords of one address */
    int64_t attempts_burst;
    struct basic_user *users; /* owned; sorted by name */
    size_t user_count;
    char *users_text; /* owned; what users point into */
    struct limit_rate attempts_bucket;
};

struct external_settings {
    char *cluster; /* asked; NULL: no external authentication */
    char *path;
    uint64_t timeout_ms;
    struct strings copy;   /* fields of its yes, set in the request */
    struct strings answer; /* fields of its no, sent to the client */
    int64_t error_status;  /* when it says neither */
};

struct maintenance_settings {
    bool on;
    struct cidr_list allow; /* pass nevertheless */
    uint64_t retry_after_s; /* 0: none */
};

struct page_settings {
    int64_t status;
    char *file;
    struct str body;  /* owned; the file as it was when the config was read */
    const char *type; /* of its name's end */
};

struct guard_settings {
    char *name;
    struct cidr_list allow, deny;
    struct limit_settings limit;
    struct basic_settings basic;
    struct external_settings external;
    struct maintenance_settings maintenance;
    struct option_list error_pages; /* struct page_settings */
};

#endif
