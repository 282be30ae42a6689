/* The tables of a cluster and of what stands in it. */
#include "conf/settings_rows.h"

static const char *const protocol_words[] = {"http", "fastcgi", "files", "h2", NULL};
static const char *const balance_words[] = {"p2c", "round_robin", "least_in_flight", "random", "peak_ewma",
                                            "consistent_hash", NULL};
static const char *const mode_words[] = {"front", "script", NULL};
static const char *const probe_words[] = {"none", "tcp", "http", "fastcgi", "h2", "grpc", NULL};
static const char *const upgrade_words[] = {"allow", "deny", NULL};
static const char *const send_proxy_words[] = {"off", "v1", "v2", NULL}; /* enum send_proxy */

_Static_assert(PROTOCOL_H2 == 3 && BALANCE_CONSISTENT_HASH == 5 && FCGI_MODE_SCRIPT == 1 &&
                   PROBE_GRPC == 5 && UPGRADE_DENY == 1,
               "words stand in the order of their enum");

#define P(member) offsetof(struct probe_settings, member)
static const struct option probe_rows[] = {
    ROW_ENUM("kind", P(kind), "tcp", probe_words,
             "How an endpoint is asked whether it is well. \"tcp\" only connects, which every server allows; "
             "\"http\" (1.1), \"h2\" and \"fastcgi\" send a request for path and look at the status; \"grpc\" asks "
             "grpc.health.v1.Health whether it serves; \"none\" leaves "
             "judgement to "
             "real traffic."),
    ROW_STRING("path", P(path), NULL,
               "What the request asks for. Unset: \"/\" for http, and \"/ping\" for fastcgi, which is "
               "ping.path of a "
               "php-fpm pool. For grpc: a slash and the name of the service; unset, the server as a whole. Choose a page that touches what the application needs and nothing slow."),
    ROW_STRING("host", P(host), NULL, "Host sent with an http probe. Unset: the address of the endpoint."),
    ROW_DURATION(
        "interval", P(interval_ms), "2s", MS(10), DAY,
        "Pause between two probes of one endpoint. With fall = 3 a silent death is noticed in some 6 s; real "
        "traffic notices a refused connection at once."),
    ROW_DURATION(
        "timeout", P(timeout_ms), "1s", MS(1), DAY,
        "A probe that takes longer has failed. An endpoint that answered real requests within the last "
        "interval is not failed by this, because a busy PHP pool answers its probe late."),
    ROW_INT(
        "rise", P(rise), "1", 1, 1000,
        "Successes in a row that make a failed endpoint serve again. One is enough: ejection by real traffic "
        "stands behind it."),
    ROW_INT("fall", P(fall), "3", 1, 1000,
            "Failures in a row that take an endpoint out. Three, so that one lost packet does not."),
    ROW_INT("status_min", P(status_min), "200", 100, 599, "Lowest status that counts as a success."),
    ROW_INT(
        "status_max", P(status_max), "399", 100, 599,
        "Highest status that counts as a success. Redirects pass: many applications answer \"/\" with one."),
};
static const struct option_table probe_table = {
    .name = "probe",
    .help = "Active health checks of a cluster, made by the orchestrator and not by the workers. When every "
            "endpoint "
            "has failed, all are used: a wrong probe must not take a site down.",
    ROWS(probe_rows),
    .struct_size = sizeof(struct probe_settings),
};

#define F(member) offsetof(struct fcgi_settings, member)
static const struct option fcgi_rows[] = {
    ROW_ENUM(
        "mode", F(mode), "front", mode_words,
        "Which script runs. \"front\": always document_root/index, whatever the path, as frameworks expect; "
        "a "
        "path can then never name a file to execute. \"script\": the .php file that the path names below "
        "document_root, for classic applications."),
    ROW_PATH("document_root", F(document_root), NULL,
             "Folder of the application as the PHP side sees it, sent as DOCUMENT_ROOT. Needed for fastcgi, "
             "unless "
             "params give SCRIPT_FILENAME."),
    ROW_STRING("index", F(index), "index.php",
               "The front controller in mode front; in mode script the file that stands for a folder."),
    ROW_BOOL(
        "path_info", F(path_info), "false",
        "In mode front, send the request path as PATH_INFO. Off, because frameworks read REQUEST_URI and "
        "some route wrongly when both are there."),
    ROW_BOOL(
        "keep_conn", F(keep_conn), "false",
        "Keep connections to the pool open between requests. Saves a connect for each request, but every idle "
        "connection occupies one php-fpm child, so it is off: turn it on where the pool has more children than "
        "max_idle times the workers."),
    ROW_VARS("params", F(params), NULL,
             "Further FastCGI parameters, for example { APP_ENV = \"production\"; }. They replace ours of "
             "the same "
             "name. This is the only place that parameters come from: a client can never name one."),
    ROW_STRING("server_name", F(server_name), NULL,
               "SERVER_NAME. Unset: the host of the request, which is what most "
               "applications build their links from."),
};
static const struct option_table fcgi_table = {
    .name = "fastcgi",
    .help = "What is told to a FastCGI server, usually php-fpm or php-cgi, about a request.",
    ROWS(fcgi_rows),
    .struct_size = sizeof(struct fcgi_settings),
};

#define H(member) offsetof(struct h2_back_settings, member)
static const struct option h2_back_rows[] = {
    ROW_INT("max_streams", H(max_streams), "100", 1, 100000,
            "Most requests on one connection at a time, if the server does not want fewer; when it is full another "
            "connection is opened. A hundred is what nearly every server allows."),
    ROW_SIZE("stream_window", H(stream_window_bytes), "64k", KIB(16), MIB(64),
             "How much of one answer a server may send before its client has taken it: the memory that a slow client "
             "costs. More makes single downloads faster over long distances."),
    ROW_SIZE("connection_window", H(connection_window_bytes), "1m", KIB(64), MIB(512),
             "The same for all answers of one connection together, while they are on their way; a slow client never "
             "stops the others."),
    ROW_DURATION("ping_interval", H(ping_interval_ms), "0s", 0, DAY,
                 "After so much silence a connection is asked by PING whether it still lives. 0: never, because some gRPC "
                 "servers end connections that ask more often than every five minutes."),
    ROW_DURATION("ping_timeout", H(ping_timeout_ms), "5s", MS(10), DAY,
                 "Longest wait for the answer; then the connection is given up and its requests fail."),
    ROW_INT("max_control_frames", H(max_control_frames), "1000", 10, 1000000,
            "Frames a second that carry nothing (PING, SETTINGS, WINDOW_UPDATE, empty DATA and the like) beyond what "
            "requests and bodies need; a server that sends more is cut off."),
    ROW_INT("max_resets", H(max_resets), "100", 1, 1000000,
            "Requests that clients gave up, on one connection; after so many it takes no new ones and another is opened. "
            "Servers end connections with many resets, and with them everybody's requests."),
};
static const struct option_table h2_back_table = {
    .name = "h2",
    .help = "Connections to servers of a cluster with protocol = \"h2\". Requests of many clients share them.",
    ROWS(h2_back_rows),
    .struct_size = sizeof(struct h2_back_settings),
};

#define I(member) offsetof(struct files_settings, member)
static const struct option files_rows[] = {
    ROW_PATH("root", I(root), NULL,
             "Folder whose files are served. Unset: no files. Paths are resolved beneath it by the kernel, "
             "so neither "
             "\"..\" nor a symbolic link leads out."),
    ROW_STRING("index", I(index), "index.html", "File that stands for a folder; the empty string for none."),
    ROW_STRINGS("try_files", I(try_files), NULL,
                "In a cluster with another protocol: what is tried in turn, such as "
                "[ \"$uri\", \"$uri/\", \"@app\" ]. \"@app\" is the cluster's own servers, \"=404\" answers "
                "with that "
                "status. Unset, with a root: a file if there is one, otherwise the servers."),
    ROW_STRINGS(
        "deny", I(deny), "[ \".php\", \".phtml\", \".phar\", \".inc\" ]",
        "Suffixes that are never served as files, so that no source code leaks. Names that begin with a dot "
        "are never served either."),
    ROW_PATH(
        "internal_root", I(internal_root), NULL,
        "Folder for X-Accel-Redirect: a server answers with that header and the file is sent in its place. "
        "Unset: the header is not heeded."),
    ROW_STRING("internal_prefix", I(internal_prefix), "/protected/",
               "Path prefix in X-Accel-Redirect that maps to internal_root. Clients can never ask for it "
               "themselves."),
    ROW_PATHS(
        "sendfile_roots", I(sendfile_roots), NULL,
        "Folders that an X-Sendfile header may name files in. Empty, the default: the header is not heeded."),
    ROW_STRING(
        "cache_control", I(cache_control), NULL,
        "Cache-Control sent with files, for example \"public, max-age=3600\". Unset: none, and browsers ask "
        "again with the ETag."),
};
static const struct option_table files_table = {
    .name = "files",
    .help = "Static files served by coxswain itself: a protocol of its own (protocol = \"files\"), or the "
            "assets in "
            "front of an application.",
    ROWS(files_rows),
    .struct_size = sizeof(struct files_settings),
};

#define K(member) offsetof(struct sticky_settings, member)
static const struct option sticky_rows[] = {
    ROW_STRING("cookie", K(cookie), NULL,
               "Name of a cookie of our own that leads a client back to the endpoint that served it before. Unset: none. "
               "Needs sticky_secret or sticky_secret_file at the top level."),
    ROW_INT("max_age", K(max_age_s), "0", 0, 366 * 86400,
            "Seconds that the browser keeps it; 0: until it is closed."),
};
static const struct option_table sticky_table = {
    .name = "sticky",
    .help = "Keeps a client at one endpoint. The value is a keyed hash of the endpoint's id: it says nothing, cannot be "
            "made up, and holds over reloads and restarts as long as the secret and the id stay. A client whose "
            "endpoint is gone, ejected, draining or full is served by another and gets a new cookie.",
    ROWS(sticky_rows),
    .struct_size = sizeof(struct sticky_settings),
};

#define Z(member) offsetof(struct compress_settings, member)
static const struct option compress_rows[] = {
    ROW_BOOL("gzip", Z(gzip), "false",
             "Compress answers for clients that ask for it. Off: it costs processor time, servers may do it themselves, "
             "and a page that holds a secret beside text of a stranger's choice gives the secret away by its length "
             "(BREACH)."),
    ROW_STRINGS("types", Z(types),
                "[ \"text/html\", \"text/plain\", \"text/css\", \"text/xml\", \"text/javascript\", "
                "\"application/javascript\", \"application/json\", \"application/manifest+json\", "
                "\"application/ld+json\", \"application/xml\", \"application/xhtml+xml\", \"application/rss+xml\", "
                "\"application/atom+xml\", \"application/wasm\", \"image/svg+xml\" ]",
                "Media types worth it; \"text/*\" and \"*\" are allowed. Pictures and films are compressed already. "
                "\"text/event-stream\" may be added: each event is sent on at once."),
    ROW_SIZE("min_length", Z(min_bytes), "1k", 0, MIB(1024),
             "Shorter answers are left alone if their length is known: they fit one packet anyway."),
    ROW_INT("level", Z(level), "5", 1, 9, "1 is the fastest, 9 the smallest; beyond 6 it costs much for little."),
};
static const struct option_table compress_table = {
    .name = "compress",
    .help = "Compression of answers on their way to the client. Left alone are: what its server has compressed, parts (206), "
            "answers with Cache-Control: no-transform or a digest, and clients of HTTP/1.0. A strong ETag becomes a weak one, "
            "and Vary gets Accept-Encoding.",
    ROWS(compress_rows),
    .struct_size = sizeof(struct compress_settings),
};

#define O(member) offsetof(struct cluster_options, member)
_Static_assert(O(request_buffer) == O(request_buffer_set) + 1 &&
                   O(response_buffer) == O(response_buffer_set) + 1,
               "an OPT_AUTO is two neighbouring bools");

static const struct option cluster_option_rows[] = {
    ROW_ENUM("protocol", O(protocol), "http", protocol_words,
             "What the servers speak: HTTP/1.1, FastCGI, HTTP/2 (\"h2\", begun at once without an upgrade, as gRPC "
             "servers expect it), or \"files\" for a cluster without servers."),
    ROW_ENUM("balance", O(balance), "p2c", balance_words,
             "Who gets the next request; all heed weights. \"p2c\" looks at two endpoints at random and takes the one "
             "with less in flight: it avoids slow servers without knowing why they are slow. \"least_in_flight\" looks "
             "at all of them, for small clusters. \"peak_ewma\" is p2c that also weighs how long answers took. "
             "\"round_robin\" and \"random\" go by weight alone. \"consistent_hash\" sends what hash_on names to the "
             "same endpoint as long as it can."),
    ROW_STRING("hash_on", O(hash_on), "source",
               "What consistent_hash goes by: \"source\" (the client's address), \"uri\" (path and query), "
               "\"header:NAME\" or \"cookie:NAME\". A request without that header or cookie goes anywhere."),
    {.key = "hash_balance",
     .type = OPT_REAL,
     .offset = O(hash_balance),
     .def = "1.25",
     .help = "Most that one endpoint may have in flight under consistent_hash, as a multiple of its share, at least 1. "
             "Beyond it requests go to the next on the ring, so that one popular key does not drown its server."},
    ROW_GROUP("sticky", O(sticky), &sticky_table, "A cookie that keeps a client at one endpoint."),
    ROW_DURATION("slow_start", O(slow_start_ms), "0s", 0, DAY,
                 "An endpoint that begins to serve takes part in a tenth of the picks at first and in all of them after "
                 "this time, so that cold caches are not flooded. 0: at once."),
    ROW_INT("max_in_flight", O(max_in_flight), "0", 0, 1000000,
            "Most requests and tunnels in flight at each endpoint, over all workers; 0: no limit. When all have so many, "
            "requests wait within hold_max and hold_timeout, the oldest first. What an old generation still serves after a "
            "reload counts, too."),
    ROW_DURATION("connect_timeout", O(connect_timeout_ms), "5s", MS(1), DAY,
                 "Longest wait for a connection to a server; another endpoint is tried after it."),
    ROW_DURATION(
        "response_timeout", O(response_timeout_ms), "60s", MS(1), DAY,
        "Longest wait for the head of an answer once the request is sent; then 504. PHP's own limit is 30 s "
        "of computing, hence twice that."),
    ROW_DURATION("body_timeout", O(body_timeout_ms), "60s", MS(1), DAY,
                 "Longest silence of a server in the middle of a body, in either direction."),
    ROW_DURATION(
        "idle_timeout", O(idle_timeout_ms), "4s", 0, DAY,
        "An idle connection to a server is closed after this. Keep it below the server's own keep-alive "
        "time (5 s in many servers), or requests meet connections that are just being closed."),
    ROW_DURATION(
        "tunnel_timeout", O(tunnel_timeout_ms), "1h", MS(1), 30 * DAY,
        "A tunnel (WebSocket, extended CONNECT) without a byte in either direction is closed after this."),
    ROW_DURATION("stream_idle_timeout", O(stream_idle_timeout_ms), "1h", 0, 30 * DAY,
                 "Longest silence of both sides at once while neither request nor answer is complete, as in a "
                 "conversation over gRPC; at least body_timeout; 0: for ever, so that streams may rest until one side "
                 "ends them. One side's own time-outs hold beside it: body_timeout once the request is complete, and "
                 "while the server has something to take of a request over HTTP/1.x or of a known length; "
                 "client_body_timeout for those requests."),
    ROW_INT("max_idle", O(max_idle), "512", 0, 100000,
            "Idle connections kept for each endpoint by each worker; 0 keeps none. As many as requests run at a time, "
            "or each wave of them (a few HTTP/2 clients are enough) opens and closes connections; idle_timeout "
            "clears away what a wave leaves."),
    ROW_INT(
        "max_uplink_requests", O(max_uplink_requests), "0", 0, INT32_MAX,
        "Requests that one connection to a server carries before it is closed; 0: no limit. Set it below a "
        "server's own limit to be the one who closes."),
    ROW_INT(
        "retries", O(retries), "2", 0, 10,
        "Further attempts after a failed one, on other endpoints where there are any. Only what is safe is "
        "repeated: requests of which nothing was sent, and idempotent ones."),
    ROW_INT("retry_budget", O(retry_budget), "20", 0, 100,
            "Percent of the requests of a cluster and worker that may be retried after something of them was sent, so "
            "that a failing site is not given twice the work; ten a second are always allowed. Retries of which nothing "
            "was sent cost nothing."),
    ROW_INT("eject_failures", O(eject_failures), "5", 0, 1000,
            "After so many failed attempts in a row (no connection, no answer, a broken one; a 5xx is an answer) an "
            "endpoint is left out for eject_time. 0: never."),
    ROW_INT("eject_rate", O(eject_rate), "0", 0, 100,
            "Percentage points by which the failures of an endpoint (those above, and any status from 500 on) must exceed "
            "those of all others together within eject_interval for it to be left out, provided that chance does not "
            "explain it (three standard errors). 0: failures are not compared. Try 20."),
    ROW_INT("eject_min_requests", O(eject_min_requests), "20", 1, 1000000,
            "Requests in the interval below which an endpoint, or all others together, are not judged."),
    ROW_DURATION("eject_interval", O(eject_interval_ms), "10s", SEC(1), SEC(3600), "How long failures are counted for it."),
    ROW_DURATION("eject_time", O(eject_time_ms), "10s", MS(1), DAY,
                 "How long. When it fails again at once it is left out for twice, then three times as long, up to ten."),
    ROW_INT("eject_max_percent", O(eject_max_percent), "50", 0, 100,
            "Never more than this share of the endpoints is left out at a time: when half of them fail it is hardly "
            "their own fault. Those of further tiers count, for they serve when a tier is left out as a whole."),
    ROW_SIZE("replay_limit", O(replay_limit_bytes), "16k", 0, MIB(16),
             "How much of a request body is kept for another attempt until the answer begins. Beyond it the "
             "request "
             "cannot be retried. It costs memory for each upload in flight."),
    ROW_AUTO("request_buffer", O(request_buffer_set),
             "Take the whole request body before a server is chosen. Frees a PHP child from slow uploads, so "
             "it is on "
             "by default for fastcgi; off for http, where servers may want to see the body as it comes."),
    ROW_AUTO("response_buffer", O(response_buffer_set),
             "Take the answer at the speed of the server and keep what the client has not read yet. On by "
             "default for "
             "fastcgi: a child is free once it has answered. Event streams and tunnels are never buffered."),
    ROW_SIZE("buffer_memory", O(buffer_memory_bytes), "64k", KIB(4), MIB(64),
             "Memory for buffering one direction of one request; the rest goes to a temporary file."),
    ROW_SIZE("buffer_file", O(buffer_file_bytes), "1g", 0, TIB(1),
             "Largest temporary file of one direction of one request; 0: memory only. Beyond it a request "
             "gets 413, "
             "and an answer waits for its client."),
    ROW_SIZE("max_response_header_size", O(max_response_header_bytes), "64k", KIB(1), KIB(256),
             "Largest head of an answer; more is a 502. Twice what clients may send: applications with many "
             "cookies need it."),
    ROW_INT("tier_min_percent", O(tier_min_percent), "0", 0, 100,
            "Endpoints have tiers (priority). While fewer than this share of a tier's endpoints serve, those of the "
            "next tier join them. 0: only when none of it serves. An endpoint that is ejected for its failures does not "
            "serve; a request that failed at all of a tier is repeated at the next one."),
    ROW_STRING("backup", O(backup), NULL,
               "Cluster that requests go to while no endpoint of this one is well (none is there, or all have failed "
               "their probe or drain) and one of the backup is. Decided when a request is routed."),
    ROW_INT("hold_max", O(hold_max), "0", 0, 1000000,
            "Requests that may wait while no endpoint can serve. 0: none waits and the answer is 503 at "
            "once, which "
            "is right for servers that nobody starts. A port of a cartridge has 256, because members come "
            "and go."),
    ROW_DURATION(
        "hold_timeout", O(hold_timeout_ms), "10s", MS(1), DAY,
        "Longest wait of a held request; then 503. Above the start-up time of a member, below the patience "
        "of a client."),
    ROW_INT("hold_wave", O(hold_wave), "16", 1, 100000,
            "Held requests that go at once to each endpoint which begins to serve, in a cluster without max_in_flight. "
            "With each answer one more may be under way at a time, so every wave is twice the last; a failure halves it. "
            "A member that has just started is not to be met by all who waited."),
    ROW_BOOL("hold_fair", O(hold_fair), "true",
             "A client address may hold at most as many requests as there are places left: alone half of hold_max, and "
             "whoever comes new finds one. Trusted addresses are exempt, and loopback as limit_loopback of the listener "
             "says."),
    ROW_INT(
        "retry_after", O(retry_after_s), "5", 0, 86400,
        "Seconds in the Retry-After of a 503; 0 sends none. Five keep clients from hammering a full site."),
    ROW_INT("max_interim", O(max_interim), "16", 0, 1000,
            "Interim answers (1xx) before the final one; more is a 502. Nobody needs so many, and without a "
            "limit a "
            "server could keep a request for ever."),
    ROW_ENUM("upgrade", O(upgrade), "allow", upgrade_words,
             "Whether a client may ask for another protocol (Upgrade: websocket). \"deny\" drops the wish "
             "and passes "
             "the request on as a plain one."),
    ROW_ENUM("send_proxy", O(send_proxy), "off", send_proxy_words,
             "Begin every connection to a server with a header of the PROXY protocol that names the client's address and "
             "the one it connected to; version 2 also says whether and how it used TLS. The servers must expect it. Such a "
             "connection serves one client connection only and is not shared, which costs more connects. Health probes "
             "send a header that says they are our own. For protocol = \"http\"."),
    ROW_STRING("host", O(host), NULL,
               "Host sent to the servers. Unset: what the client sent, which is what applications expect."),
    ROW_STRING("guard", O(guard), NULL, "Name of a guard that all requests of this cluster must pass."),
    ROW_GROUP("fastcgi", O(fastcgi), &fcgi_table, "For protocol = \"fastcgi\"."),
    ROW_GROUP("h2", O(h2), &h2_back_table, "For protocol = \"h2\"."),
    ROW_GROUP("files", O(files), &files_table, "Static files."),
    ROW_GROUP("compress", O(compress), &compress_table, "Compression of answers."),
    ROW_GROUP("probe", O(probe), &probe_table, "Active health checks."),
    ROW_GROUP("tls", O(tls), &tls_cluster_table, "TLS toward the servers."),
};
const struct option_table cluster_options_table = {
    .name = "cluster",
    .help = "How requests of one cluster are served.",
    ROWS(cluster_option_rows),
    .struct_size = sizeof(struct cluster_options),
};

#define E(member) offsetof(struct endpoint_settings, member)
static const struct option endpoint_rows[] = {
    ROW_REQUIRED("address", E(address),
                 "\"10.0.0.1:80\", \"[::1]:80\", \"unix:/run/php.sock\", or a host name with a port, \"app.internal:80\": "
                 "each of its addresses is an endpoint, and it is looked up again when its TTL is over (see resolver). "
                 "A name that does not resolve yet is no error."),
    ROW_INT("weight", E(weight), "100", 0, 1000,
            "Share of the requests in relation to the others; 0: no new requests."),
    ROW_INT("priority", E(priority), "0", 0, 255,
            "Tier: 0 is used first, the next only while too few of it serve (see tier_min_percent)."),
};
const struct option_table endpoint_table = {
    .name = "endpoint",
    .help = "One server of a static cluster. A plain string is its address.",
    ROWS(endpoint_rows),
    .struct_size = sizeof(struct endpoint_settings),
    .unique_key = "address",
    .short_key = "address",
};

#define C(member) offsetof(struct cluster_settings, member)
static const struct option cluster_rows[] = {
    ROW_REQUIRED("name", C(name), "What routes, metrics and coxctl call it."),
    ROW_LIST("endpoints", C(endpoints), &endpoint_table, "Its servers."),
    ROW_GROUP("scale", C(scale), &scale_table,
              "Its servers, or some of them, are members that come and go. Applications have this in their cartridges."),
    ROW_INLINE(C(options), &cluster_options_table, NULL),
};
const struct option_table cluster_table = {
    .name = "cluster",
    .help = "The servers that serve one purpose, with one balancing policy. Clusters of applications and of "
            "discovery "
            "plugins need no section here.",
    ROWS(cluster_rows),
    .struct_size =
        sizeof(struct cluster_settings), /* names are compared with those of applications elsewhere */
};

#define T(member) offsetof(struct port_settings, member)
static const struct option port_rows[] = {
    ROW_TEXT(
        OPT_STRING, "name", T(name), "http",
        "Part of the cluster's id, which is APPLICATION/1/1/ALIAS:NAME, and of $PORT_NAME in the command."),
    ROW_INLINE(T(options), &cluster_options_table, NULL),
};
const struct option_table port_table = {
    .name = "port",
    .help =
        "A port of a cartridge: each becomes a cluster of every set that runs the cartridge. Every key of a "
        "cluster may stand here. hold_max is 256 unless set: members come and go.",
    ROWS(port_rows),
    .struct_size = sizeof(struct port_settings),
    .unique_key = "name",
};
