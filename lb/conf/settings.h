/* settings: the whole configuration as typed structs, checked, every default filled in.
 *
 * Made once by settings_load, immutable from then on, freed by settings_free. After a fork parent and child
 * each have their own copy. The tables in settings_tables.c describe these structs row for row; a member
 * without a row does not exist for the user. */
#ifndef COX_CONF_SETTINGS_H
#define COX_CONF_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/guard_settings.h"
#include "conf/log_format.h"
#include "conf/options.h"
#include "conf/settings_place.h"
#include "conf/settings_route.h"
#include "conf/settings_scale.h"
#include "conf/settings_tls.h"

enum protocol { PROTOCOL_HTTP, PROTOCOL_FASTCGI, PROTOCOL_FILES, PROTOCOL_H2 };
enum balance_policy {
    BALANCE_P2C,
    BALANCE_ROUND_ROBIN,
    BALANCE_LEAST_IN_FLIGHT,
    BALANCE_RANDOM,
    BALANCE_PEAK_EWMA,
    BALANCE_CONSISTENT_HASH
};
enum fcgi_mode { FCGI_MODE_FRONT, FCGI_MODE_SCRIPT };
enum probe_kind { PROBE_NONE, PROBE_TCP, PROBE_HTTP, PROBE_FASTCGI, PROBE_H2, PROBE_GRPC };
enum upgrade_policy { UPGRADE_ALLOW, UPGRADE_DENY };
enum proxy_protocol { PROXY_PROTOCOL_OFF, PROXY_PROTOCOL_REQUIRED };
enum send_proxy { SEND_PROXY_OFF, SEND_PROXY_V1, SEND_PROXY_V2 };

/* HTTP/2 with clients: what one connection may make us do and keep (rows T1 to T6, T17). */
struct h2_settings {
    bool prior_knowledge; /* on a listener without TLS: connections that begin with its preface */
    bool websocket;       /* extended CONNECT (RFC 8441) */
    int64_t max_streams;
    uint64_t stream_window_bytes, connection_window_bytes;
    int64_t max_resets, reset_rate;
    int64_t max_control, control_rate;
    int64_t max_continuations;
    int64_t max_queued_frames;
    uint64_t max_memory_bytes; /* of all requests of one connection, and their answers */
    uint64_t min_rate;         /* bytes/s of an answer that a client must make room for; 0: off */
};

struct listener_settings {
    char *name;
    char *address; /* "0.0.0.0:8080", "[::]:80", "unix:/run/x.sock" */
    int64_t backlog;
    uint64_t client_header_timeout_ms; /* whole head, from its first byte (H32) */
    uint64_t client_idle_timeout_ms;   /* between requests */
    uint64_t client_rest_after_ms;     /* idle for so long: kept in less memory; 0: never */
    uint64_t client_body_timeout_ms;   /* no body byte for so long */
    uint64_t client_body_min_rate;     /* bytes/s averaged over the body after the first 10 s; 0: off (H32) */
    uint64_t client_write_timeout_ms;  /* no byte of the answer taken for so long */
    uint64_t max_line_bytes;           /* 414 */
    uint64_t max_header_bytes;         /* 431 */
    int64_t max_header_count;          /* 431 */
    uint64_t max_body_bytes;           /* 413; 0: no limit */
    int64_t max_requests;              /* per connection; 0: no limit */
    int64_t
        max_sessions_per_client; /* connections of one address (IPv6: one /64) at a time; 0: no limit (H32) */
    bool limit_loopback;         /* limits per address hold for loopback too */
    struct cidr_list trusted;    /* whose Forwarded, X-Forwarded-*, X-Real-IP are believed (P4) */
    int proxy_protocol;          /* enum proxy_protocol: every connection begins with a PROXY header (P1) */
    struct cidr_list proxy_from; /* who may connect then */
    uint64_t max_proxy_header_bytes; /* of version 2 (P2) */
    struct h2_settings h2;
    bool merge_slashes;
    bool probes;                   /* answers /healthz and /readyz itself */
    bool trace;                    /* TRACE is answered by the server behind; default 405 (H25) */
    char *access_format;           /* NULL: that of log */
    struct log_format *log_format; /* compiled from it by settings_load; owned; NULL: the default line */
    struct tls_listener_settings tls;
    char *guard; /* name of a guard, or NULL */
};

struct probe_settings {
    int kind;   /* enum probe_kind; default TCP */
    char *path; /* HTTP: path; FASTCGI: script name such as "/ping" (ping.path) or "/status" */
    char *host;
    uint64_t interval_ms, timeout_ms;
    int64_t rise, fall; /* successes to become healthy, failures to become unhealthy */
    int64_t status_min, status_max;
};

struct fcgi_settings {
    int mode;            /* enum fcgi_mode */
    char *document_root; /* as the PHP side sees it */
    char *index;         /* "index.php": the front controller */
    bool path_info;      /* front mode: PATH_INFO = the request path instead of empty */
    bool keep_conn;
    struct vars params; /* extra params, these win over ours (F9: only from here) */
    char *server_name;  /* SERVER_NAME; NULL: from Host */
};

struct files_settings {
    char *root;               /* NULL: no files */
    char *index;              /* "index.html", NULL for none */
    struct strings try_files; /* not for PROTOCOL_FILES alone: "$uri", "$uri/", "=404", "@app" (the cluster's
                                 own back) */
    struct strings deny;      /* suffixes never served: ".php", ".phtml", ".phar", ".inc", and dot files */
    char *internal_root;      /* X-Accel-Redirect: folder that internal paths are resolved in */
    char *
        internal_prefix; /* X-Accel-Redirect: path prefix that maps to internal_root, default "/protected/" */
    struct strings sendfile_roots; /* X-Sendfile: absolute paths must lie below one of these */
    char *cache_control;           /* value sent with files, or NULL */
};

/* Connections to servers that speak HTTP/2. */
struct h2_back_settings {
    int64_t max_streams; /* of one connection at a time */
    uint64_t stream_window_bytes, connection_window_bytes;
    uint64_t ping_interval_ms; /* silence before a PING; 0: none is sent */
    uint64_t ping_timeout_ms;
    int64_t max_control_frames; /* a second, from the server, beyond what streams and bodies earn (T5) */
    int64_t max_resets;         /* that we send before a connection takes no more streams (T1) */
};

struct sticky_settings {
    char *cookie;       /* its name; NULL: not sticky */
    uint64_t max_age_s; /* 0: as long as the browser runs */
};

struct compress_settings {
    bool gzip;
    struct strings types; /* "text/html", "text/" and a star */
    uint64_t min_bytes;   /* of a known length; below it headers weigh more */
    int64_t level;
};

/* Everything the proxy must know about a cluster but its endpoints. Travels in the topology. */
struct cluster_options {
    int protocol;        /* enum protocol */
    int balance;         /* enum balance_policy */
    char *hash_on;       /* "source", "uri", "header:NAME", "cookie:NAME" */
    double hash_balance; /* most that an endpoint may have in flight, in shares of its own; at least 1 */
    struct sticky_settings sticky;
    uint64_t slow_start_ms; /* from 10 % to its weight within this time after it began to serve; 0: at once */
    int64_t max_in_flight;  /* of each endpoint; 0: no limit */
    uint64_t connect_timeout_ms;
    uint64_t response_timeout_ms; /* until the answer's head */
    uint64_t body_timeout_ms;     /* no byte from or to the server for so long */
    uint64_t idle_timeout_ms;     /* idle uplinks are closed after it; below the servers' own */
    uint64_t tunnel_timeout_ms;
    uint64_t stream_idle_timeout_ms; /* no byte either way in the middle of both bodies; 0: no limit */
    int64_t max_idle;                /* idle uplinks per endpoint and worker */
    int64_t max_uplink_requests;     /* requests an uplink carries before it is closed; 0: no limit */
    int64_t retries;                 /* further attempts after the first */
    int64_t retry_budget;            /* percent of the requests */
    int64_t eject_failures;          /* in a row; 0: never ejected */
    uint64_t eject_time_ms;
    int64_t eject_rate; /* points above the others' failure rate; 0: not compared (topo/outlier.h) */
    int64_t eject_min_requests;
    uint64_t eject_interval_ms;
    int64_t eject_max_percent; /* of the endpoints may be ejected at a time */
    uint64_t replay_limit_bytes;
    bool request_buffer_set, request_buffer; /* whole body before PICK; default on for fastcgi */
    bool response_buffer_set,
        response_buffer;          /* take the whole answer at server speed; default on for fastcgi */
    uint64_t buffer_memory_bytes; /* of one direction of one exchange, before the temporary file */
    uint64_t buffer_file_bytes;   /* of the temporary file; above: back-pressure or 413/503 */
    uint64_t max_response_header_bytes;
    char *backup;             /* cluster that serves while this one has nobody; NULL: none */
    int64_t tier_min_percent; /* of the endpoints of a tier that must serve, or the next tier joins */
    int64_t hold_max;         /* requests that may wait while no endpoint can serve; 0: none waits */
    uint64_t hold_timeout_ms;
    int64_t hold_wave;      /* held requests that go at once to each endpoint, without max_in_flight */
    bool hold_fair;         /* no client has more of the waiting room than is still free */
    uint64_t retry_after_s; /* Retry-After of a 503 */
    int64_t max_interim;    /* 1xx answers before the final one (H28) */
    int upgrade;            /* enum upgrade_policy */
    int send_proxy;         /* enum send_proxy: uplinks begin with a PROXY header */
    char *host;             /* Host sent to the servers; NULL: the client's */
    char *guard;            /* name of a guard, or NULL */
    struct fcgi_settings fastcgi;
    struct h2_back_settings h2;
    struct files_settings files;
    struct compress_settings compress;
    struct probe_settings probe;
    struct tls_cluster_settings tls;
};

struct cluster_settings {
    char *name;
    struct option_list endpoints;   /* struct endpoint_settings; a plain string in the file is its address */
    struct scale_settings scale;    /* SCALE_IS_SET: its endpoints are members too */
    struct cluster_options options; /* its rows stand in the cluster's own section */
};

struct endpoint_settings {
    char *address; /* "10.0.0.1:80", "[::1]:80", "unix:/run/php.sock", "app.internal:80" */
    int64_t weight;
    int64_t priority; /* tier, 0 first */
};

struct route_settings {
    char *host;    /* "*", "shop.example.com", "*.example.com" */
    char *path;    /* prefix, begins with '/' */
    char *cluster; /* NULL: the options say what is done */
    struct route_options options;
};

struct plugin_settings {
    char *name;   /* instance */
    char *plugin; /* NULL: the same as name */
    struct raw_options raw;
    char *file; /* where the section stands, for messages; owned */
    int line;
};

struct port_settings {
    char *name;                     /* default "http"; part of the cluster's id */
    struct cluster_options options; /* protocol, probe, fastcgi … stand in the port's own section */
};

struct cartridge_settings {
    char *name;
    char *actuator;         /* plugin instance */
    struct strings command; /* argv; $PORT, $PORT_<NAME>, $MEMBER_ID, $HOST are replaced in each word */
    char *directory;        /* working directory */
    struct vars environment;
    char *user;                /* of the member; NULL: the program's own user */
    struct option_list ports;  /* struct port_settings */
    uint64_t start_timeout_ms; /* active after this, or replaced */
    uint64_t stop_timeout_ms;  /* SIGTERM, then SIGKILL after this */
    int stop_signal;           /* enum index: 0 TERM, 1 QUIT, 2 INT */
    uint64_t drain_timeout_ms;
    uint64_t faulty_after_ms; /* active, and its probe fails for so long: replaced; 0: never */
    int64_t faulty_max_percent;
    bool undrain;
    char *document_root; /* for every fastcgi port that has none of its own; settings_load has spread it */
    char *index;         /* likewise */
};

struct alias_settings { /* cartridges = ( … ) of an application */
    char *alias;
    char *type; /* cartridge name */
    int64_t min, max;
    char *path;              /* route prefix of its first port, default "/" */
    char *deployment_policy; /* NULL: wherever the cartridge's actuator puts them */
    struct scaling_settings scaling;
};

struct application_settings {
    char *name;
    struct strings hosts;
    struct option_list cartridges; /* struct alias_settings */
};

struct log_settings {
    char *file;          /* error log; NULL: standard error */
    int level;           /* enum log_level: error, warn, info, debug */
    char *access;        /* access log file, "off", or "stderr"/"stdout" */
    int syslog_facility; /* index of its words: see settings_syslog_facility */
    char *access_format; /* "default", "combined", "json", "off", or text with variables */
    int access_escape;   /* 0 text, 1 json: of formats with variables */
};

struct resolver_settings {
    struct strings servers; /* "10.0.0.53", "[::1]:53"; none: those of resolv.conf */
    uint64_t timeout_ms;    /* of the first try; it doubles */
    int64_t tries;
    uint64_t min_ttl_ms, max_ttl_ms; /* bounds of how long an answer is believed */
    uint64_t retry_ms;               /* after a failure */
    int64_t max_addresses;           /* of one name */
};

struct admin_settings {
    char *address;    /* "127.0.0.1:9090" or "unix:/path"; NULL: no admin listener */
    char *token_file; /* NULL: no token; only for loopback and unix sockets */
};

struct settings {
    char *file;      /* the config file itself, absolute */
    int64_t workers; /* 0: one per processor in the affinity mask and cgroup quota */
    char *user, *group;
    bool daemon;
    char *pid_file;
    char *control;           /* master's unix socket */
    char *state_dir;         /* last topology, orchestrator state; NULL: none on disk */
    char *plugin_dir;        /* never NULL after settings_load */
    char *temp_dir;          /* for unlinked spill files */
    uint64_t temp_max_bytes; /* of all of them */
    int64_t splice_pipes;
    struct log_settings log;
    struct admin_settings admin;
    struct resolver_settings resolver;
    uint64_t shutdown_delay_ms, drain_timeout_ms;
    uint64_t ticket_rotation_ms, tls_check_ms;
    struct tls_field_settings client_cert_fields;
    bool takes_early_data; /* some listener does; likewise */
    bool asks_clients;     /* some listener asks for certificates; settings_load has looked */
    int64_t generations_max;
    int64_t max_sessions; /* 0: from RLIMIT_NOFILE */
    char *server_name;    /* Via pseudonym and Server of own replies: "coxswain" */
    bool via;
    bool forwarded;                           /* RFC 7239 Forwarded beside X-Forwarded-* */
    bool request_id;                          /* make X-Request-Id when there is none */
    bool traceparent;                         /* make traceparent when there is none */
    int64_t max_compressions;                 /* answers that a worker compresses at a time */
    bool reason_header;                       /* X-Coxswain-Reason on answers of our own */
    char *sticky_secret, *sticky_secret_file; /* as configured */
    struct str sticky_key;                  /* owned; the secret itself, wherever it came from; empty: none */
    int64_t max_clusters, max_endpoints;    /* rows of the ledger */
    struct option_list listeners;           /* struct listener_settings */
    struct option_list clusters;            /* struct cluster_settings */
    struct option_list routes;              /* struct route_settings */
    struct option_list plugins;             /* struct plugin_settings */
    struct option_list cartridges;          /* struct cartridge_settings */
    struct option_list applications;        /* struct application_settings */
    struct option_list partitions;          /* struct partition_settings */
    struct option_list network_partitions;  /* struct network_partition_settings */
    struct option_list deployment_policies; /* struct deployment_policy_settings */
    struct option_list policies;            /* struct plugin_settings: of autoscaling */
    struct option_list guards;              /* struct guard_settings */
    int64_t max_limited_clients;            /* addresses whose limits are kept at a time */
};

extern const struct option_table settings_table, cluster_table, cluster_options_table, listener_table,
    h2_table;
extern const struct option_table endpoint_table, route_table, plugin_table, port_table, cartridge_table;
extern const struct option_table application_table, alias_table, guard_table;

/* Reads and checks a file with its @include's. Every error goes to `errors` as "file:line: what, what was
 * expected\n"; NULL is returned when there was one. The caller frees. */
struct settings *settings_load(const char *file, struct buf *errors) __attribute__((warn_unused_result));
void settings_free(struct settings **s);
/* Overwrites the hashes of passwords: for a process that has no use for them (and its own copy, after a
 * fork). */
void settings_guard_forget(struct settings *s);

/* The same from text in memory, without @include. For fuzzing and tests; messages name the file "text". */
struct settings *settings_load_text(const char *text, size_t n, struct buf *errors)
    __attribute__((warn_unused_result));

/* Fills in what depends on other keys: buffering that follows the protocol, the path of a probe.
 * settings_load has done so; whoever makes options with options_set calls it last. Calling it twice is
 * harmless. */
void cluster_options_settle(struct cluster_options *options);

/* Whether text may be the id of a cluster: 1 to CLUSTER_ID_MAX bytes of A-Z a-z 0-9 . _ / : @ - */
#define CLUSTER_ID_MAX 200
bool cluster_id_is_valid(struct str text);
/* "source", "uri", "header:NAME", "cookie:NAME". */
bool hash_key_is_valid(struct str text);
/* What a row of a cluster alone cannot say, as far as no other section is asked. False when something was
 * wrong: `complain` was told of all of it. */
bool cluster_options_check(const struct cluster_options *o, route_complain_fn *complain, void *ctx)
    __attribute__((warn_unused_result));
/* Is there a guard of this name? */
bool settings_has_guard(const struct settings *s, const char *name);
/* Names of listeners, plugins, cartridges, applications, aliases, ports: 1 to NAME_MAX_BYTES bytes of
 * A-Z a-z 0-9 . _ -, so that an id made of them is never too long and never ambiguous. */
#define NAME_MAX_BYTES 60
bool name_is_valid(struct str text);
/* Appends the id of a set ("shop/1/1/web") or, with a port, of its cluster ("shop/1/1/web:http"). */
void settings_set_id(struct buf *out, const char *application, const char *alias);
void settings_cluster_id(struct buf *out, const char *application, const char *alias, const char *port);

/* Where a log goes that says "syslog", "syslog:unix:/path" or "syslog:10.0.0.5:514": the address; empty when
 * it says something else. */
struct str settings_syslog_address(const char *log);
/* Its number in RFC 5424. */
int settings_syslog_facility(const struct settings *s);

/* The cartridge, plugin instance, partition, … of that name, or NULL. */
const struct cartridge_settings *settings_cartridge(const struct settings *s, const char *name);
const struct plugin_settings *settings_plugin(const struct settings *s, const char *name);
const struct partition_settings *settings_partition(const struct settings *s, const char *name);
const struct network_partition_settings *settings_network_partition(const struct settings *s,
                                                                    const char *name);
const struct deployment_policy_settings *settings_deployment_policy(const struct settings *s,
                                                                    const char *name);
/* The autoscaling policy; name may be NULL. */
const struct plugin_settings *settings_policy(const struct settings *s, const char *name);

/* coxswain --manual: the page coxswain.cfg(5). coxswain --reference: conf/reference.cfg. */
void settings_manual(struct buf *out);
void settings_reference(struct buf *out);

/* Typed access to lists: SETTINGS_AT(s->routes, struct route_settings, i). */
#define SETTINGS_AT(list, type, i) (&((type *)(list).items)[i])

#endif
