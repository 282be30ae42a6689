/* The tables of a route and of what stands in it. */
#include "conf/settings_rows.h"

#define S(member) offsetof(struct split_settings, member)
static const struct option split_rows[] = {
    ROW_REQUIRED("cluster", S(cluster), "Id of the cluster."),
    ROW_INT("weight", S(weight), "100", 0, 1000000,
            "Its share of the requests in relation to the others; 0: none."),
};
static const struct option_table split_table = {
    .name = "cluster of a route",
    .help = "One of the clusters that a route divides its requests between. A plain string is its id, or "
            "\"ID=WEIGHT\".",
    ROWS(split_rows),
    .struct_size = sizeof(struct split_settings),
    .short_key = "cluster",
};

#define D(member) offsetof(struct redirect_settings, member)
static const struct option redirect_rows[] = {
    ROW_STRING("location", D(location), NULL,
               "Where to, with variables: \"https://new.example.com$rest\". See request_headers for what there "
               "is; $uri is path and query, $rest the path behind the route's own."),
    ROW_INT("code", D(code), "308", 301, 308,
            "301, 302, 303, 307 or 308. 308 and 307 keep the method, 301 and 308 are remembered by browsers."),
    ROW_BOOL("https", D(https), "false",
             "To the same URI over TLS. Requests that came over TLS, also by the word of a trusted proxy, go on "
             "to the route's cluster."),
    ROW_INT("port", D(port), "443", 1, 65535, "Port of https; 443 is left out of the URI."),
};
static const struct option_table redirect_table = {
    .name = "redirect",
    .help = "Answers with a redirect instead of asking a server.",
    ROWS(redirect_rows),
    .struct_size = sizeof(struct redirect_settings),
};

#define P(member) offsetof(struct reply_settings, member)
static const struct option reply_rows[] = {
    ROW_INT("status", P(status), "0", 0, 599, "200 to 599. 0: no fixed reply."),
    {.key = "body",
     .type = OPT_STRING,
     .offset = P(body),
     .verbatim = true,
     .help = "What is sent, at most 64k. Unset: nothing."},
    ROW_PATH("file", P(file), NULL,
             "File that holds the body instead, read at start and reload. Not for routes of a discovery "
             "plugin."),
    ROW_STRING("content_type", P(content_type), "text/plain; charset=utf-8", "Content-Type of the body."),
};
static const struct option_table reply_table = {
    .name = "reply",
    .help = "Answers with a fixed text instead of asking a server.",
    ROWS(reply_rows),
    .struct_size = sizeof(struct reply_settings),
};

#define F(member) offsetof(struct field_settings, member)
static const struct option field_rows[] = {
    ROW_STRINGS("set", F(set), NULL,
                "Lines such as \"X-Client: $client_ip\": the field has this value, whatever it had before."),
    ROW_STRINGS("add", F(add), NULL, "Lines likewise: one more field, beside those that are there."),
    ROW_STRINGS("remove", F(remove), NULL, "Names of fields that are left out. Done before set and add."),
};
static const struct option_table field_table = {
    .name = "request_headers, response_headers",
    .help =
        "Changes of a header section. Values may hold variables: $client_ip, $client_port, $scheme, $host (without "
        "port), $port (of the listener), $method, $path, $query, $uri (path and query), $rest (the path behind the "
        "route's own), $request_id; in answers also $cluster and $endpoint; $$ is a dollar. ${NAME} is the "
        "environment's, as everywhere. Framing, hop-by-hop fields and Host cannot be changed (a cluster has the key "
        "host). Answers that we make ourselves are changed too.",
    ROWS(field_rows),
    .struct_size = sizeof(struct field_settings),
};

#define M(member) offsetof(struct mirror_settings, member)
static const struct option mirror_rows[] = {
    ROW_STRING("cluster", M(cluster), NULL, "Id of the cluster that gets the copies. Unset: none are made."),
    {.key = "percent",
     .type = OPT_REAL,
     .offset = M(percent),
     .def = "100",
     .min = 0,
     .max = 100,
     .help = "Share of the requests that are copied."},
    ROW_SIZE("max_body", M(max_body_bytes), "64k", 0, MIB(16),
             "A request with a larger body is not copied, but counted. Bodies are kept in memory until the request "
             "is complete."),
    ROW_INT("max_in_flight", M(max_in_flight), "64", 1, 100000,
            "Copies to that cluster at a time in each worker; beyond it none is made, but counted. With max_body it "
            "bounds the memory that a slow shadow can cost."),
};
static const struct option_table mirror_table = {
    .name = "mirror",
    .help = "Sends a copy of each request to another cluster too and throws the answer away. A copy is sent once "
            "the request is complete, is never held or tried again, and neither delays nor fails the request. It has "
            "counters of its own. Requests for an upgrade are not copied.",
    ROWS(mirror_rows),
    .struct_size = sizeof(struct mirror_settings),
};

#define O(member) offsetof(struct route_options, member)
static const struct option route_option_rows[] = {
    ROW_STRINGS("methods", O(methods), NULL,
                "Methods that this route is for, such as [ \"GET\", \"HEAD\" ]. Unset: all."),
    ROW_STRINGS("headers", O(headers), NULL,
                "Conditions on header fields: \"NAME\" is there, \"!NAME\" is not, \"NAME=VALUE\" has this value, "
                "\"NAME^=PREFIX\" begins so. Each field line is looked at by itself; one that fits is enough. All "
                "conditions of a route must hold."),
    ROW_STRINGS("query", O(query), NULL,
                "Conditions on query arguments, likewise. Names and values are compared decoded: %20 and + are a "
                "blank."),
    ROW_STRINGS("cookies", O(cookies), NULL, "Conditions on cookies, likewise."),
    ROW_INT("priority", O(priority), "0", -1000000, 1000000,
            "Among routes of the same host and path the highest is tried first, then the one with the most "
            "conditions (methods count as one), then by the text of the conditions."),
    ROW_STRING("guard", O(guard), NULL, "Name of a guard that requests of this route must pass, redirects too."),
    ROW_BOOL("wake", O(wake), "true",
             "Whether requests of this route may start members of a cluster that has none, and wait for them. With "
             "\"false\" they get 503 with Retry-After at once while it has none, and count as no demand: for crawlers and "
             "monitoring, by a condition in headers such as \"User-Agent^=Uptime\"."),
    ROW_LIST("clusters", O(clusters), &split_table, "Instead of cluster: several, by weight."),
    ROW_STRING("split_on", O(split_on), NULL,
               "What keeps a client with one of the clusters: \"source\", \"uri\", \"header:NAME\" or "
               "\"cookie:NAME\", as hash_on of a cluster. A request without it goes by chance. Unset: each request "
               "goes by chance."),
    ROW_GROUP("redirect", O(redirect), &redirect_table,
              "Answers with a redirect: { location = \"https://$host$uri\"; } or { https = true; }."),
    ROW_GROUP("reply", O(reply), &reply_table, "Answers with a fixed text: { status = 410; body = \"gone\"; }."),
    ROW_STRING("rewrite_prefix", O(rewrite_prefix), NULL,
               "What the server gets in place of the route's path: with path \"/api\" and \"/v2\" here /api/x "
               "becomes /v2/x; \"/\" takes the prefix away."),
    ROW_BOOL("rewrite_answers", O(rewrite_answers), "true",
             "With rewrite_prefix: whether answers are put as the client sees them. Where Location and Content-Location "
             "name a path below rewrite_prefix, alone or behind the client's host, the cluster's host or the server's own "
             "address, and where the Path of a cookie does, the route's path takes its place; a Domain that is the server's "
             "and not the client's is left out. Other sites, relative paths, what begins with the route's path already and "
             "cookies named __Host-... stay as they are."),
    ROW_GROUP("request_headers", O(request_headers), &field_table, "Changes of what the server gets."),
    ROW_GROUP("response_headers", O(response_headers), &field_table, "Changes of what the client gets."),
    ROW_GROUP("mirror", O(mirror), &mirror_table, "Copies for another cluster, whose answers nobody reads."),
};
const struct option_table route_options_table = {
    .name = "route",
    .help = "What a route asks beyond host and path, and what it does with a request.",
    ROWS(route_option_rows),
    .struct_size = sizeof(struct route_options),
};

#define R(member) offsetof(struct route_settings, member)
static const struct option route_rows[] = {
    ROW_STRING("host", R(host), "*",
               "\"shop.example.com\", \"*.example.com\" or \"*\". An exact name wins over a pattern, a "
               "longer pattern "
               "over a shorter one, and everything over \"*\"."),
    ROW_STRING("path", R(path), "/",
               "Prefix of the path, by whole segments: \"/api\" is for /api and /api/x, not for /apis. The "
               "longest wins."),
    ROW_STRING("cluster", R(cluster), NULL,
               "Where requests go: the name of a cluster of this file, the id of a cluster that an "
               "application makes "
               "(\"shop/1/1/web:http\"), or one that a discovery plugin delivers. Needed unless clusters, redirect "
               "or reply stand in its place."),
    ROW_INLINE(R(options), &route_options_table, NULL),
};
const struct option_table route_table = {
    .name = "route",
    .help = "Host, path and further conditions to cluster. The order of routes does not matter. When no route of the "
            "longest path has its conditions fulfilled, the next shorter path is tried, then the next less exact "
            "host.",
    ROWS(route_rows),
    .struct_size = sizeof(struct route_settings),
};
