/* The tables of guards. */
#include "conf/settings_guard.h"
#include "conf/settings_rows.h"

#define M(member) offsetof(struct limit_settings, member)
static const struct option limit_rows[] = {
    ROW_STRING("client_rate", M(client_rate), NULL,
               "Requests of one client address (of IPv6: one /64), such as \"10/s\", \"300/m\", \"1000/h\" or \"5000/d\". "
               "Beyond it: 429 with Retry-After. Unset: no limit. Loopback and addresses in the listener's trusted are "
               "exempt (see limit_loopback)."),
    ROW_INT("client_burst", M(client_burst), "0", 0, LIMIT_BURST_MAX,
            "How many of them may come at once after a pause; they come back at client_rate. 0: what comes in a second, "
            "at least one."),
    ROW_INT("client_in_flight", M(client_in_flight), "0", 0, LIMIT_COUNT_MAX - 1,
            "Requests of one client address in flight at a time; further ones get 429. 0: no limit. Exempt as above."),
    ROW_STRING("rate", M(rate), NULL,
               "Requests of all clients together that pass this guard, over all workers of a generation. Nobody is exempt."),
    ROW_INT("burst", M(burst), "0", 0, LIMIT_BURST_MAX, "As client_burst, for rate."),
    ROW_INT("in_flight", M(in_flight), "0", 0, 1000000000,
            "Requests of all clients together in flight at a time; 0: no limit."),
    ROW_BOOL("dry_run", M(dry_run), "false",
             "Refuse nobody, but count and log who would have been refused: to find out what a limit would do."),
};
static const struct option_table limit_table = {
    .name = "limit",
    .help = "How often and how many at a time. Buckets of tokens are shared by all workers and exact; a reload begins "
            "with full ones.",
    ROWS(limit_rows),
    .struct_size = sizeof(struct limit_settings),
};

#define B(member) offsetof(struct basic_settings, member)
static const struct option basic_rows[] = {
    ROW_PATH("file", B(file), NULL,
             "Password file: lines of \"user:hash\", as \"htpasswd -B\" makes them. Hashes are those of crypt(3): bcrypt "
             "($2y$), SHA-256 and SHA-512 ($5$, $6$), yescrypt ($y$). Read at start and reload, before privileges are "
             "dropped."),
    ROW_STRING("realm", B(realm), "restricted", "What the browser shows when it asks for the password."),
    ROW_BOOL("pass", B(pass), "false",
             "Pass the Authorization field on to the servers. Off: they have no use for the password."),
    ROW_DURATION("cache", B(cache_ms), "5m", 0, DAY,
                 "How long a worker remembers that a password was right (a keyed hash of it, in memory), because checking "
                 "one takes a good part of a second of computing. A reload forgets all. 0: never."),
    ROW_STRING("attempts", B(attempts), "30/m",
               "Passwords of one client address that are worth that computing; beyond it: 429. Remembered ones do not "
               "count. Exempt as in limit."),
    ROW_INT("attempts_burst", B(attempts_burst), "10", 0, LIMIT_BURST_MAX, "How many of them at once."),
};
static const struct option_table basic_table = {
    .name = "basic",
    .help = "Basic authentication (RFC 7617). The user's name goes to the access log.",
    ROWS(basic_rows),
    .struct_size = sizeof(struct basic_settings),
};

#define X(member) offsetof(struct external_settings, member)
static const struct option external_rows[] = {
    ROW_STRING("cluster", X(cluster), NULL, "Name of the cluster that is asked about each request."),
    ROW_STRING("path", X(path), "/",
               "Path of that question: a GET without a body, with the client's header fields, and X-Forwarded-Method, "
               "-Proto, -Host, -Uri and -For to say what it is about."),
    ROW_DURATION("timeout", X(timeout_ms), "5s", MS(1), DAY, "Longest wait for the answer; then error_status."),
    ROW_STRINGS("copy", X(copy), "[ \"Remote-User\", \"X-Auth-User\" ]",
                "Fields of its answer that are set in the request when it says yes (2xx). What a client sends under these "
                "names never reaches the servers."),
    ROW_STRINGS("answer", X(answer), "[ \"WWW-Authenticate\", \"Location\", \"Set-Cookie\" ]",
                "Fields of its answer that the client gets when it says no (401, 403 or a redirect)."),
    ROW_INT("error_status", X(error_status), "503", 500, 599,
            "Sent when it says neither yes nor no, nothing at all, or cannot be reached: nobody passes then."),
};
static const struct option_table external_table = {
    .name = "external",
    .help = "Authentication by another server, which is asked before each request is passed on.",
    ROWS(external_rows),
    .struct_size = sizeof(struct external_settings),
};

#define N(member) offsetof(struct maintenance_settings, member)
static const struct option maintenance_rows[] = {
    ROW_BOOL("on", N(on), "false", "Answer 503 to everybody else. Change it and reload."),
    ROW_NETS("allow", N(allow), NULL, "Networks of those who pass nevertheless, to see whether the work is done."),
    ROW_INT("retry_after", N(retry_after_s), "300", 0, 604800, "Seconds in its Retry-After; 0 sends none."),
};
static const struct option_table maintenance_table = {
    .name = "maintenance",
    .help = "Closed for work. The page is the one for 503 in error_pages.",
    ROWS(maintenance_rows),
    .struct_size = sizeof(struct maintenance_settings),
};

#define P(member) offsetof(struct page_settings, member)
static const struct option page_rows[] = {
    ROW_INT("status", P(status), "503", 400, 599, "For answers with this status that coxswain makes itself."),
    {.key = "file",
     .type = OPT_PATH,
     .offset = P(file),
     .required = true,
     .help = "The page, at most 256k, read at start and reload. Its type follows from its name: .html, .json, .svg, else "
             "plain text."},
};
static const struct option_table page_table = {
    .name = "error page",
    .help = "An own page in the place of one line of text. The answers of servers are never replaced.",
    ROWS(page_rows),
    .struct_size = sizeof(struct page_settings),
};

#define G(member) offsetof(struct guard_settings, member)
static const struct option guard_rows[] = {
    ROW_REQUIRED("name", G(name), "What listeners, routes, clusters, logs and metrics call it."),
    ROW_NETS("allow", G(allow), NULL,
             "Networks of the clients that may pass; all others get 403. Unset: everybody may. The client is who "
             "connected, or whom a trusted proxy named."),
    ROW_NETS("deny", G(deny), NULL, "Networks of clients that get 403, whatever allow says."),
    ROW_GROUP("limit", G(limit), &limit_table, "How often and how many at a time."),
    ROW_GROUP("basic", G(basic), &basic_table, "Basic authentication."),
    ROW_GROUP("external", G(external), &external_table, "Authentication by another server."),
    ROW_GROUP("maintenance", G(maintenance), &maintenance_table, "Closed for work."),
    ROW_LIST("error_pages", G(error_pages), &page_table, "Own pages for answers that coxswain makes itself."),
};
const struct option_table guard_table = {
    .name = "guard",
    .help = "Who may pass, how often, and what those are told who may not. A request passes the guard of its listener, "
            "then that of its route, then that of its cluster; in each, maintenance and addresses come first, then "
            "limits; who is who is asked last.",
    ROWS(guard_rows),
    .struct_size = sizeof(struct guard_settings),
    .unique_key = "name",
};
