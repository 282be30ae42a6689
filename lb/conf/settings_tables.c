/* The tables of the whole file, of listeners, plugins, cartridges and applications. */
#include "conf/settings_rows.h"

static const char *const level_words[] = {"error", "warn", "info", "debug", NULL}; /* enum log_level */
static const char *const access_words[] = {"off", "stderr", "stdout", "syslog", "syslog:", NULL};
static const char *const error_words[] = {"stderr", "syslog", "syslog:", NULL};
static const char *const facility_words[] = {"user",   "daemon", "auth",   "authpriv", "local0", "local1", "local2",
                                             "local3", "local4", "local5", "local6",   "local7", NULL};
static const char *const escape_words[] = {"text", "json", NULL};
static const char *const proxy_words[] = {"off", "required", NULL}; /* enum proxy_protocol */
static const char *const signal_words[] = {"TERM", "QUIT", "INT", NULL};

#define L(member) offsetof(struct listener_settings, member)
static const struct option listener_rows[] = {
    ROW_REQUIRED("name", L(name), "What logs and metrics call it."),
    ROW_REQUIRED("address", L(address),
                 "\"0.0.0.0:8080\", \"[::]:80\" or \"unix:/run/x.sock\". The master binds it, so it may be a "
                 "port below "
                 "1024 although the workers have no privileges."),
    ROW_INT("backlog", L(backlog), "4096", 1, 65535,
            "Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn. Large, so "
            "that a "
            "burst waits a moment instead of being turned away."),
    ROW_DURATION(
        "client_header_timeout", L(client_header_timeout_ms), "10s", MS(1), DAY,
        "The whole head of a request must arrive within this, counted from its first byte: sending a byte "
        "now and then does not prolong it. Then 408."),
    ROW_DURATION(
        "client_idle_timeout", L(client_idle_timeout_ms), "60s", MS(1), DAY,
        "A client connection without a request is closed after this. An idle one costs little memory, and "
        "browsers profit from finding it still open."),
    ROW_DURATION(
        "client_rest_after", L(client_rest_after_ms), "5s", 0, DAY,
        "An idle client connection is kept in half the memory after this. Its next request costs two "
        "system calls more, so not too soon. 0: never."),
    ROW_DURATION("client_body_timeout", L(client_body_timeout_ms), "30s", MS(1), DAY,
                 "Longest silence in the middle of a request body; then 408."),
    ROW_SIZE("client_body_min_rate", L(client_body_min_rate), "500", 0, MIB(1024),
             "Bytes a second that a request body must reach on average once it has taken 10 s; 0: no limit. "
             "A poor "
             "telephone line is faster; a client that holds uploads open on purpose is not."),
    ROW_DURATION("client_write_timeout", L(client_write_timeout_ms), "30s", MS(1), DAY,
                 "A client that takes no byte of its answer for so long is given up."),
    ROW_SIZE("max_line_size", L(max_line_bytes), "8k", 256, KIB(256),
             "Longest request line; more is a 414. What servers have agreed on for decades."),
    ROW_SIZE("max_header_size", L(max_header_bytes), "32k", KIB(1), KIB(256),
             "Largest header section; more is a 431. Room for many cookies, and a bound on what one client "
             "can make "
             "us keep."),
    ROW_INT(
        "max_sessions_per_client", L(max_sessions_per_client), "1000", 0, 1000000,
        "Connections that one client address (of IPv6: one /64) may have at a time; further ones are closed "
        "at once. "
        "Generous, for whole offices come from one address; 0: no limit. Addresses in trusted are exempt."),
    ROW_BOOL(
        "limit_loopback", L(limit_loopback), "false",
        "Limits per client address hold for loopback addresses too. Off, because what comes from there is a "
        "neighbour of ours or a test."),
    ROW_INT("max_header_count", L(max_header_count), "100", 1, 512,
            "Most fields in a header section; more is a 431."),
    ROW_SIZE("max_body_size", L(max_body_bytes), "100m", 0, TIB(1024),
             "Largest request body; more is a 413. 0: no limit. PHP itself has a limit for uploads below "
             "this one."),
    ROW_INT("max_requests", L(max_requests), "0", 0, INT32_MAX,
            "Requests on one client connection before it is closed with an answer; 0: no limit."),
    ROW_NETS(
        "trusted", L(trusted), NULL,
        "Networks whose Forwarded, X-Forwarded-* and X-Real-IP are believed, such as [ \"10.0.0.0/8\" ]; "
        "\"loopback\" and \"private\" are short for the usual ones. Empty, the default: nobody, and what "
        "clients "
        "claim about themselves is replaced."),
    ROW_ENUM("proxy_protocol", L(proxy_protocol), "off", proxy_words,
             "\"required\": every connection begins with a header of the PROXY protocol, version 1 or 2, "
             "before TLS and HTTP, "
             "and the client's address is the one that it names: in logs, in Forwarded and X-Forwarded-For, "
             "for trusted "
             "and for all limits. A connection without it is closed, and so is one from elsewhere than "
             "proxy_protocol_from: "
             "nothing is guessed. The header has client_header_timeout to arrive. When it says that the "
             "client used TLS, "
             "X-Forwarded-Proto is https."),
    ROW_NETS("proxy_protocol_from", L(proxy_from), NULL,
             "Networks of the load balancers that may connect when proxy_protocol is \"required\", such as "
             "[ \"10.0.0.0/8\" ]; needed unless the listener is a unix socket. Not the same as trusted, "
             "which is about "
             "what HTTP headers claim."),
    ROW_SIZE("max_proxy_header_size", L(max_proxy_header_bytes), "4k", 232, 65551,
             "Largest PROXY header of version 2; a longer one closes the connection. Senders seldom need "
             "more than 500 "
             "bytes, but some add the client's certificate. A header of version 1 has 107 bytes at most."),
    ROW_BOOL(
        "merge_slashes", L(merge_slashes), "true",
        "Take several slashes in a row as one when choosing a route, so that \"//admin\" cannot slip past a "
        "route for \"/admin\"."),
    ROW_BOOL("trace", L(trace), "false",
             "Pass TRACE on to the servers. Off: 405, because it shows a script the headers that it should "
             "not see."),
    ROW_BOOL("probes", L(probes), "false",
             "Answer /healthz and /readyz here, before any route, for whoever watches this program: a load "
             "balancer in "
             "front, or Kubernetes. /readyz is 503 without a topology and while stopping (see "
             "shutdown_delay). Off, "
             "because these paths may belong to your application."),
    {.key = "access_format",
     .type = OPT_STRING,
     .offset = L(access_format),
     .verbatim = true,
     .help = "Layout of the access log's lines of this listener, in the words of access_format in log; "
             "\"off\" for "
             "one that only health checks use. Unset: that of log."},
    ROW_STRING("guard", L(guard), NULL,
               "Name of a guard that all requests of this listener must pass, those without a route too."),
    ROW_GROUP("tls", L(tls), &tls_listener_table, "TLS toward clients."),
    ROW_GROUP("h2", L(h2), &h2_table, "HTTP/2 with clients."),
};
const struct option_table listener_table = {
    .name = "listener",
    .help = "A socket that accepts clients.",
    ROWS(listener_rows),
    .struct_size = sizeof(struct listener_settings),
    .unique_key = "name",
};

#define G(member) offsetof(struct plugin_settings, member)
static const struct option plugin_rows[] = {
    ROW_REQUIRED("name", G(name), "Name of this instance; the same plugin may be opened several times."),
    ROW_STRING("plugin", G(plugin), NULL, "Which plugin. Unset: the one called like the instance."),
    {.key = "",
     .type = OPT_PLUGIN,
     .offset = G(raw),
     .help = "All other keys are the plugin's own; its README has them."},
};
const struct option_table plugin_table = {
    .name = "plugin",
    .help = "A plugin of the orchestrator, with its options.",
    ROWS(plugin_rows),
    .struct_size = sizeof(struct plugin_settings),
    .unique_key = "name",
};

#define K(member) offsetof(struct cartridge_settings, member)
static const struct option cartridge_rows[] = {
    ROW_REQUIRED("name", K(name), "What applications call it."),
    ROW_REQUIRED("actuator", K(actuator),
                 "Name of the plugin instance that runs the members, such as \"process\"."),
    {.key = "command",
     .type = OPT_STRINGS,
     .offset = K(command),
     .verbatim = true,
     .help = "Program and arguments, without a shell in between. $PORT, $PORT_NAME for a port of that name, "
             "$HOST and "
             "$MEMBER_ID are replaced in each word when a member is started."},
    ROW_PATH("directory", K(directory), NULL, "Working directory of the members. Unset: the program's own."),
    {.key = "environment",
     .type = OPT_VARS,
     .offset = K(environment),
     .verbatim = true,
     .help = "Environment of the members, for example { APP_ENV = \"production\"; }. Nothing else is "
             "inherited but "
             "PATH, HOME, LANG and TZ."},
    ROW_STRING("user", K(user), NULL,
               "User that the members run as. Unset: the program's own. Needs a privileged master."),
    ROW_LIST("ports", K(ports), &port_table, "What a member offers; at least one."),
    ROW_DURATION("start_timeout", K(start_timeout_ms), "30s", MS(1), DAY,
                 "A member that is not active by then is replaced."),
    ROW_DURATION("stop_timeout", K(stop_timeout_ms), "10s", 0, DAY,
                 "How long a member may take to end after stop_signal; then it is killed."),
    ROW_ENUM("stop_signal", K(stop_signal), "TERM", signal_words,
             "Signal that asks a member to end. php-fpm finishes its requests on QUIT and drops them on "
             "TERM; members "
             "are drained first in any case."),
    ROW_DURATION("drain_timeout", K(drain_timeout_ms), "30s", 0, 7 * DAY,
                 "How long a member that has to go may finish what is in flight."),
    ROW_BOOL("undrain", K(undrain), "true",
             "When more members are wanted while some are leaving, those that still serve stay, the newest "
             "first: that is "
             "faster than a start. Off: a member that was told to leave is not to be trusted again."),
    ROW_DURATION("faulty_after", K(faulty_after_ms), "30s", 0, DAY,
                 "An active member whose probe fails for so long is drained, stopped and replaced. 0: never; "
                 "it just gets no "
                 "requests meanwhile."),
    ROW_INT("faulty_max_percent", K(faulty_max_percent), "34", 1, 100,
            "Share of the members that may be replaced for that at a time, at least one: when a database "
            "behind all of "
            "them is away, new members would not help."),
    ROW_PATH("document_root", K(document_root), NULL,
             "Short for fastcgi = { document_root } in every fastcgi port that has none of its own."),
    ROW_STRING("index", K(index), NULL,
               "Short for fastcgi = { index } in every fastcgi port that has none of its own."),
};
const struct option_table cartridge_table = {
    .name = "cartridge",
    .help = "The template of a member: how it is run, its ports, its health check.",
    ROWS(cartridge_rows),
    .struct_size = sizeof(struct cartridge_settings),
    .unique_key = "name",
};

#define A(member) offsetof(struct alias_settings, member)
static const struct option alias_rows[] = {
    ROW_REQUIRED("alias", A(alias), "Name of this use of the cartridge within the application."),
    ROW_REQUIRED("type", A(type), "Name of the cartridge."),
    ROW_INT("min", A(min), "1", 0, 10000, "Members that there are at least."),
    ROW_INT("max", A(max), "1", 1, 10000, "Members that there are at most. Unset: as many as min."),
    ROW_STRING("path", A(path), "/", "Path prefix of the route that leads to the first port."),
    ROW_STRING("deployment_policy", A(deployment_policy), NULL,
               "Name of the policy that says in which partitions its members run. Unset: wherever the "
               "cartridge's actuator "
               "puts them."),
    ROW_STRING("autoscaling_policy", A(scaling.policy), NULL,
               "Name of the policy that decides how many there are between min and max. Unset: min, or what "
               "coxctl scale "
               "and schedules say."),
    ROW_INLINE(A(scaling), &scaling_table, NULL),
};
const struct option_table alias_table = {
    .name = "cartridge of an application",
    .help = "A set of members: one cartridge in one role.",
    ROWS(alias_rows),
    .struct_size = sizeof(struct alias_settings),
    .unique_key = "alias",
};

#define N(member) offsetof(struct application_settings, member)
static const struct option application_rows[] = {
    ROW_REQUIRED("name", N(name), "First part of the ids of its sets and clusters."),
    ROW_STRINGS("hosts", N(hosts), NULL,
                "Hosts that routes are made for, in the syntax of a route. Empty: no routes of its own."),
    ROW_LIST("cartridges", N(cartridges), &alias_table, "What it consists of; at least one."),
    ROW_RESERVED("groups", "Groups of cartridges."),
    ROW_RESERVED("dependencies", "Start-up order, scaling dependents, termination behaviour."),
};
const struct option_table application_table = {
    .name = "application",
    .help = "Sets of members that belong together, with the routes that lead to them.",
    ROWS(application_rows),
    .struct_size = sizeof(struct application_settings),
    .unique_key = "name",
};

#define G2(member) offsetof(struct log_settings, member)
static const struct option log_rows[] = {
    {.key = "file",
     .type = OPT_PATH,
     .offset = G2(file),
     .words = error_words,
     .help = "Error log: a file, \"stderr\", or a syslog server as in access. Unset: standard error, where service "
             "managers look for it. A line that a syslog server does not take is lost; the next one says how many were."},
    ROW_ENUM("level", G2(level), "info", level_words,
             "What is worth a line. \"debug\" is for finding a fault, not for a busy site."),
    {.key = "access",
     .type = OPT_PATH,
     .offset = G2(access),
     .def = "off",
     .words = access_words,
     .help =
         "Access log: a file, \"stdout\", \"stderr\", \"off\", or a syslog server, a datagram a line: "
         "\"syslog\" for /dev/log and \"syslog:unix:/path\" in the form of syslog(3), which journald and rsyslog want there, "
         "with the tag coxswain/access (the error log: coxswain); \"syslog:10.0.0.5:514\" for UDP, as RFC 5424. A server that takes no "
         "line for a second loses what waits, counted as access_log_dropped_lines_total; requests never wait for it. Off "
         "by default: metrics count every request anyway, and a log of visitors is personal data that one should decide "
         "to keep."},
    ROW_ENUM("syslog_facility", G2(syslog_facility), "local0", facility_words, "Facility of lines that go to a syslog server."),
    {.key = "access_format",
     .type = OPT_STRING,
     .offset = G2(access_format),
     .def = "default",
     .verbatim = true,
     .help = "Layout of a line. \"default\": combined, then cluster, endpoint, reason, the times hold, "
             "connect, first "
             "byte and total in microseconds, and the request id. \"combined\": as Apache and nginx write "
             "it. \"json\": "
             "an object a line. \"off\": none. Or text of your own with variables, see LOG VARIABLES. What "
             "clients send "
             "is escaped, so that nobody can forge a line."},
    ROW_ENUM("access_escape", G2(access_escape), "text", escape_words,
             "How a text of your own escapes what clients send: \"text\" as \\xHH, \"json\" as a JSON string "
             "wants it, for "
             "variables between quotes; absent texts are empty then, and absent numbers null."),
};
static const struct option_table log_table = {
    .name = "log",
    .help = "Logs.",
    ROWS(log_rows),
    .struct_size = sizeof(struct log_settings),
};

#define D(member) offsetof(struct admin_settings, member)
static const struct option admin_rows[] = {
    ROW_STRING("address", D(address), NULL,
               "\"127.0.0.1:9090\" or \"unix:/run/coxswain/admin.sock\"; a socket file is for its owner "
               "alone. Unset: "
               "there is no admin listener."),
    ROW_PATH("token_file", D(token_file), NULL,
             "File whose first line is a secret of at least 16 letters, read at start and reload. Everything "
             "but the "
             "bare page then wants \"Authorization: Bearer SECRET\". Needed for any address that is not "
             "loopback."),
};
static const struct option_table admin_table = {
    .name = "admin",
    .help = "The admin listener: /metrics for Prometheus, a JSON API below /v1, and a live page at /.",
    ROWS(admin_rows),
    .struct_size = sizeof(struct admin_settings),
};

#define V(member) offsetof(struct resolver_settings, member)
static const struct option resolver_rows[] = {
    ROW_STRINGS("servers", V(servers), NULL,
                "Name servers, such as [ \"10.0.0.53\", \"[::1]:5353\" ]. Unset: those of /etc/resolv.conf, "
                "read at start and "
                "reload. /etc/hosts is asked first in any case, and search domains hold for names without a "
                "final dot."),
    ROW_DURATION("timeout", V(timeout_ms), "2s", MS(10), SEC(60),
                 "For the answer of a server at the first try."),
    ROW_INT("tries", V(tries), "3", 1, 10, "How often each server is asked, with growing time-outs."),
    ROW_DURATION("min_ttl", V(min_ttl_ms), "1s", MS(10), DAY,
                 "An answer is believed at least so long, whatever it says. Names of /etc/hosts are looked "
                 "up as often."),
    ROW_DURATION("max_ttl", V(max_ttl_ms), "1h", MS(10), DAY,
                 "And at most so long, so that a mistake with a day's TTL does not last a day."),
    ROW_DURATION("retry", V(retry_ms), "5s", MS(10), DAY,
                 "After a failure, or when a name has no address, it is looked up again after this."),
    ROW_INT("max_addresses", V(max_addresses), "256", 1, 4096,
            "Addresses of one name that become endpoints."),
};
static const struct option_table resolver_table = {
    .name = "resolver",
    .help = "How host names of endpoints become addresses. Every address of a name, IPv4 and IPv6, is an "
            "endpoint. While no "
            "server answers the last addresses stay; that a name has none is believed when it is said twice "
            "in a row.",
    ROWS(resolver_rows),
    .struct_size = sizeof(struct resolver_settings),
};

#define S(member) offsetof(struct settings, member)
static const struct option settings_rows[] = {
    ROW_INT(
        "workers", S(workers), "0", 0, 256,
        "Data threads of the proxy. 0: one for each processor of the affinity mask and the cgroup's quota."),
    ROW_STRING("user", S(user), NULL,
               "User that proxy and orchestrator run as when the master is started as root; needed then."),
    ROW_STRING("group", S(group), NULL, "Group likewise. Unset: the user's own."),
    ROW_BOOL("daemon", S(daemon), "false",
             "Go into the background. Off: service managers and containers want none of it."),
    ROW_PATH("pid_file", S(pid_file), NULL, "File that the master's process id is written to."),
    ROW_PATH("control", S(control), NULL,
             "Unix socket that coxctl talks to. Unset: /run/coxswain/control.sock for root, otherwise "
             "coxswain/control.sock in $XDG_RUNTIME_DIR, or in a folder of the user's own below /tmp."),
    ROW_PATH(
        "state_dir", S(state_dir), NULL,
        "Folder for the last topology and what the orchestrator must not forget over a restart of "
        "everything; it is made if only it is missing and not its parent. Unset: nothing is kept on disk."),
    ROW_PATH("plugin_dir", S(plugin_dir), NULL,
             "Folder that plugins are loaded from. Unset: the one that make install puts them in."),
    ROW_PATH(
        "temp_dir", S(temp_dir), "/tmp",
        "Folder for bodies that do not fit in memory. The files have no name and vanish with the process."),
    ROW_SIZE("temp_max", S(temp_max_bytes), "4g", MIB(1), TIB(16),
             "Bytes of all such files together; each worker has its equal share. Above it no body is taken further than "
             "memory goes: requests go on unbuffered or get a 413, answers wait with their servers. So that clients who "
             "send much, or read slowly, fill no disk."),
    ROW_INT("splice_pipes", S(splice_pipes), "32", 0, 1024,
            "Pipes of the kernel that a worker may have, each of two descriptors and half a megabyte at most. With one of "
            "them a large body goes from socket to socket without being copied, where nothing else is to be done with it "
            "(HTTP/1, no TLS, no compression, no buffering). 0: every byte is read and written."),
    ROW_GROUP("log", S(log), &log_table, "Logs."),
    ROW_GROUP("admin", S(admin), &admin_table,
              "The admin listener: /metrics for Prometheus, a JSON API below /v1, and a live page at /."),
    ROW_GROUP("resolver", S(resolver), &resolver_table, "Host names of endpoints."),
    ROW_DURATION(
        "shutdown_delay", S(shutdown_delay_ms), "0s", 0, SEC(3600),
        "On SIGTERM, how long requests are still accepted while /readyz already fails. Behind another load "
        "balancer set it to the time that one takes to notice."),
    ROW_DURATION("drain_timeout", S(drain_timeout_ms), "30s", 0, 7 * DAY,
                 "How long a generation that has to go may finish what is in flight, tunnels included."),
    ROW_DURATION(
        "ticket_rotation", S(ticket_rotation_ms), "8h", SEC(1), 7 * DAY,
        "How often the keys of TLS session tickets change; a ticket is good for so long, and the key before "
        "it "
        "for once more. Whoever steals a key can read the sessions that it sealed, so keep it short; clients "
        "that come back later make a full handshake."),
    ROW_GROUP("client_cert_fields", S(client_cert_fields), &tls_field_table,
              "Who a client is, told to servers where client_auth is on."),
    ROW_DURATION(
        "tls_check_interval", S(tls_check_ms), "5s", MS(50), DAY,
        "How often the files of TLS are looked at. Those that have changed, and stand still since the look "
        "before, are read again."),
    ROW_INT(
        "generations_max", S(generations_max), "4", 1, 16,
        "Generations of the proxy that may drain at once after reloads. Further reloads wait: each one costs "
        "memory as long as it drains."),
    ROW_INT("max_sessions", S(max_sessions), "0", 0, 100000000,
            "Client connections at once. 0: what the limit on open files allows. Beyond it the oldest idle "
            "one goes."),
    ROW_STRING("server_name", S(server_name), "coxswain",
               "Our name in Via and in the Server field of answers that we make ourselves."),
    ROW_BOOL("via", S(via), "true", "Add Via, as RFC 9110 asks of a gateway. It also ends loops of proxies."),
    ROW_BOOL("forwarded", S(forwarded), "false",
             "Send Forwarded (RFC 7239) beside X-Forwarded-For, -Proto and -Host. Off: few applications read "
             "it, and "
             "some trust it unseen."),
    ROW_BOOL("request_id", S(request_id), "true", "Make an X-Request-Id for requests that have none."),
    ROW_BOOL("traceparent", S(traceparent), "true", "Make a traceparent (W3C) for requests that have none."),
    ROW_INT("max_compressions", S(max_compressions), "64", 0, 65536,
            "Answers that one worker compresses at a time (compress in a cluster); further ones go out as "
            "they are. Each "
            "takes some 300k until its client has read it, so this bounds what slow readers can cost."),
    ROW_BOOL("reason_header", S(reason_header), "false",
             "Say in X-Coxswain-Reason why an answer was made here and not by a server: an id of the table "
             "of reasons. The "
             "field is taken out of what servers send, so that it tells whose 503 it was. Off: it also tells "
             "strangers."),
    {.key = "sticky_secret",
     .type = OPT_STRING,
     .offset = S(sticky_secret),
     .secret = true,
     .help =
         "What the values of sticky cookies are derived from, at least 16 characters. The same here and on "
         "other "
         "instances keeps clients where they are over restarts and failover; another one moves them once."},
    ROW_PATH("sticky_secret_file", S(sticky_secret_file), NULL,
             "File that holds the secret instead, up to 4096 bytes; a line end behind it does not count. "
             "Read at start "
             "and reload."),
    ROW_INT(
        "max_clusters", S(max_clusters), "4096", 1, 1000000,
        "Clusters that can be counted at once, those of discovery included. Counters are sparse: unused ones "
        "cost no memory."),
    ROW_INT("max_endpoints", S(max_endpoints), "65536", 1, 10000000,
            "Endpoints that can be counted at once, likewise."),
    ROW_LIST("listeners", S(listeners), &listener_table, "Sockets that accept clients."),
    ROW_LIST("clusters", S(clusters), &cluster_table, "Static clusters."),
    ROW_LIST("routes", S(routes), &route_table, "Host, path and further conditions to cluster."),
    ROW_LIST("plugins", S(plugins), &plugin_table, "Plugins of the orchestrator."),
    ROW_LIST("cartridges", S(cartridges), &cartridge_table, "Templates of members."),
    ROW_LIST("applications", S(applications), &application_table, "Members that belong together."),
    ROW_LIST("partitions", S(partitions), &partition_table, "Places where members can run."),
    ROW_LIST("network_partitions", S(network_partitions), &network_partition_table, "Sets of such places."),
    ROW_LIST("deployment_policies", S(deployment_policies), &deployment_policy_table,
             "How members are spread over places."),
    ROW_LIST("autoscaling_policies", S(policies), &policy_table, "What decides how many members a set has."),
    ROW_LIST("guards", S(guards), &guard_table,
             "Who may pass, how often, and what those are told who may not."),
    ROW_INT("max_limited_clients", S(max_limited_clients), "65536", 1024, 16777216,
            "Client addresses that the limits of guards are kept for at a time. An entry takes 32 bytes, and "
            "memory only "
            "once it is used. When more are busy at once, limits per address become lenient."),
    ROW_RESERVED("groups", "Groups of cartridges."),
    ROW_RESERVED("dependencies", "Order and dependence between the parts of a group."),
    ROW_RESERVED("application_policies", "Where applications run."),
};
const struct option_table settings_table = {
    .name = "the top level",
    .help = "Settings of the whole program.",
    ROWS(settings_rows),
    .struct_size = sizeof(struct settings),
};
