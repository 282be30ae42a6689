/* process: an actuator that runs members as processes of this machine.
 *
 * It finds a free port for each port of the cartridge, hands them over in the environment, and asks the
 * master, through the host, to fork. The master takes command, folder, user and limits from its own reading
 * of the config, so that nothing that happens here can run anything else. When the orchestrator is started
 * anew, the members go on; they are found again by the environment they were given.
 *
 *   instance ──► members (one for each living process) ──► ports
 *           └──► recent: ports given out in the last 60 s, so that a late packet for a dead member meets
 * nobody new */
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"
#include "usage.h"

#define RECENT_NS  60000000000ull
#define TRIES_MAX  200
#define TEXT_BYTES 96
#define ENV_FIXED                                                                                            \
    9 /* PORT, PORT_NAMES, HOST, MEMBER_ID, CARTRIDGE, SET, ACTUATOR, PARTITION, NETWORK_PARTITION */
#define LIST_BYTES  1024
#define MEMBERS_MAX 65536

enum {
    OPTION_ADDRESS,
    OPTION_PORT_MIN,
    OPTION_PORT_MAX,
    OPTION_REPORT_INTERVAL,
    OPTION_MEMBER_PROCESSORS,
    OPTION_MEMBER_MEMORY
};

static const struct cox_option options[] = {
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_STRING,
     .key = "address",
     .def = "127.0.0.1",
     .help =
         "Address that members listen on, without a port. The default keeps them unreachable from outside."},
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_INT,
     .key = "port_min",
     .def = "0",
     .max = 65535,
     .help = "Lowest port given to members. 0, the default, lets the kernel pick among all that are free."},
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_INT,
     .key = "port_max",
     .def = "0",
     .max = 65535,
     .help = "Highest port given to members; 0 together with port_min."},
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_DURATION,
     .key = "report_interval",
     .def = "5s",
     .max = 3600000,
     .help = "How often load average and memory of each member are told to whoever scales; 0: never."},
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_REAL,
     .key = "member_processors",
     .def = "1",
     .max = 1024,
     .help = "Processors that a member is meant to use: its load average is in percent of them."},
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_SIZE,
     .key = "member_memory",
     .def = "0",
     .max = INT64_MAX,
     .help =
         "Memory that a member is meant to use: its memory consumption is in percent of it. 0: all of the "
         "machine's."},
};

/* ---- ports ---- */

static void set_port(struct sockaddr_storage *a, uint16_t port)
{
    if (a->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)a)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)(void *)a)->sin_port = htons(port);
}

static uint16_t get_port(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)a)->sin6_port);
    return ntohs(((const struct sockaddr_in *)(const void *)a)->sin_port);
}

static bool parse_address(struct instance *p, const char *text)
{
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)&p->bind_to;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)&p->bind_to;
    p->bind_len = sizeof *in;
    in->sin_family = AF_INET;
    if (inet_pton(AF_INET, text, &in->sin_addr) == 1)
        return true;
    memset(&p->bind_to, 0, sizeof p->bind_to);
    p->bind_len = sizeof *in6;
    in6->sin6_family = AF_INET6;
    return inet_pton(AF_INET6, text, &in6->sin6_addr) == 1;
}

static bool is_taken(const struct instance *p, uint16_t port)
{
    const uint64_t now = p->host->now_ns(p->host);
    for (uint32_t i = 0; i < RECENT_MAX; i++)
        if (p->recent[i].port == port && p->recent[i].until_ns > now)
            return true;
    for (const struct member *m = p->members; m; m = m->next)
        for (uint32_t i = 0; i < m->port_count; i++)
            if (m->ports[i].number == port)
                return true;
    return false;
}

static void remember(struct instance *p, uint16_t port)
{
    p->recent[p->recent_at++ % RECENT_MAX] =
        (struct recent){.port = port, .until_ns = p->host->now_ns(p->host) + RECENT_NS};
}

/* The port if it can be bound right now, else 0; asked for 0, the one that the kernel picks. */
static uint16_t try_bind(const struct instance *p, uint16_t port)
{
    struct sockaddr_storage a = p->bind_to;
    socklen_t len = p->bind_len;
    const int fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    set_port(&a, port);
    const bool ok =
        bind(fd, (const struct sockaddr *)&a, len) == 0 && getsockname(fd, (struct sockaddr *)&a, &len) == 0;
    close(fd);
    return ok ? get_port(&a) : 0;
}

static uint16_t find_port(struct instance *p)
{
    const uint32_t span = p->port_min ? (uint32_t)(p->port_max - p->port_min) + 1u : 0;
    const uint32_t tries = span && span < TRIES_MAX ? span : TRIES_MAX;
    for (uint32_t i = 0; i < tries; i++) {
        uint16_t wanted = 0;
        if (span)
            wanted = (uint16_t)(p->port_min + p->cursor++ % span);
        if (wanted && is_taken(p, wanted))
            continue;
        const uint16_t port = try_bind(p, wanted);
        if (!port || is_taken(p, port))
            continue;
        remember(p, port);
        return port;
    }
    return 0;
}

static void print_address(const struct instance *p, uint16_t port, char to[TEXT_BYTES])
{
    const bool six = p->bind_to.ss_family == AF_INET6;
    (void)snprintf(to, TEXT_BYTES, six ? "[%s]:%u" : "%s:%u", p->address, (unsigned)port);
}

/* ---- members ---- */

static struct member *find(struct instance *p, const char *id)
{
    for (struct member *m = p->members; m; m = m->next)
        if (strcmp(m->id, id) == 0)
            return m;
    return NULL;
}

static void forget(struct instance *p, struct member *gone)
{
    for (struct member **at = &p->members; *at; at = &(*at)->next) {
        if (*at != gone)
            continue;
        *at = gone->next;
        p->member_count--;
        for (uint32_t i = 0; i < gone->port_count; i++)
            remember(p, gone->ports[i].number);
        free(gone->id);
        free(gone->set);
        free(gone->partition);
        free(gone->network);
        free(gone);
        return;
    }
}

static char *copy(const char *text)
{
    return text && *text ? strdup(text) : NULL;
}

static struct member *add(struct instance *p, const char *id, const char *set, const char *partition,
                          const char *network)
{
    struct member *m = p->member_count < MEMBERS_MAX ? calloc(1, sizeof *m) : NULL;
    if (!m)
        return NULL;
    m->id = strdup(id);
    m->set = strdup(set ? set : "");
    m->partition = copy(partition);
    m->network = copy(network);
    m->load = -1;
    m->next = p->members;
    p->members = m;
    p->member_count++;
    if (m->id && m->set)
        return m;
    forget(p, m);
    return NULL;
}

/* PORT_<NAME>: letters in upper case, all else an underscore. */
static void port_variable(const char *name, char to[TEXT_BYTES])
{
    (void)snprintf(to, TEXT_BYTES, "PORT_%s", name);
    for (char *c = to; *c; c++)
        *c = (char)(isalnum((unsigned char)*c) ? toupper((unsigned char)*c) : '_');
}

struct environment {
    struct cox_pair pairs[ENV_FIXED + PORTS_MAX];
    char numbers[PORTS_MAX][8], names[PORTS_MAX][TEXT_BYTES];
    char list[LIST_BYTES]; /* of port names as they are written: the variables lose their case */
    uint32_t count;
};

static void put_pair(struct environment *e, const char *key, const char *value)
{
    e->pairs[e->count++] = (struct cox_pair){.size = sizeof(struct cox_pair), .key = key, .value = value};
}

static void make_environment(const struct instance *p, const struct member *m,
                             const struct cox_member_spec *spec, struct environment *e)
{
    size_t at = 0;
    e->count = 0;
    e->list[0] = 0;
    for (uint32_t i = 0; i < m->port_count; i++) {
        const int n = snprintf(e->list + at, LIST_BYTES - at, "%s%s", i ? " " : "", m->ports[i].name);
        at = n > 0 && (size_t)n < LIST_BYTES - at ? at + (size_t)n : at;
        (void)snprintf(e->numbers[i], sizeof e->numbers[i], "%u", (unsigned)m->ports[i].number);
        port_variable(m->ports[i].name, e->names[i]);
        put_pair(e, e->names[i], e->numbers[i]);
    }
    if (m->port_count)
        put_pair(e, "PORT", e->numbers[0]);
    put_pair(e, "PORT_NAMES", e->list);
    put_pair(e, "HOST", p->address);
    put_pair(e, "MEMBER_ID", m->id);
    put_pair(e, "CARTRIDGE", spec->cartridge);
    put_pair(e, "SET", m->set);
    put_pair(e, "ACTUATOR", p->host->instance);
    if (m->partition)
        put_pair(e, "PARTITION", m->partition);
    if (m->network)
        put_pair(e, "NETWORK_PARTITION", m->network);
}

static bool find_ports(struct instance *p, struct member *m, const struct cox_member_spec *spec)
{
    for (uint32_t i = 0; i < spec->ports.count && i < PORTS_MAX; i++) {
        const struct cox_port *wanted = COX_AT(struct cox_port, spec->ports, i);
        (void)snprintf(m->ports[i].name, NAME_BYTES, "%s", wanted->name);
        m->ports[i].number = find_port(p);
        if (!m->ports[i].number)
            return false;
        m->port_count = i + 1;
    }
    return true;
}

static int32_t start_member(void *instance, uint64_t ticket, const struct cox_member_spec *spec)
{
    struct instance *p = instance;
    struct member *m = find(p, spec->member);
    if (m) { /* asked twice: the second ticket takes the place of the first */
        m->start_ticket = ticket;
        if (m->pid) {
            m->start_ticket = 0;
            p->host->ticket_done(p->host, ticket, COX_TICKET_DONE, NULL);
        }
        return COX_OK;
    }
    m = add(p, spec->member, spec->set, spec->partition, spec->network_partition);
    if (!m)
        return COX_FAILED;
    if (!find_ports(p, m, spec)) {
        forget(p, m);
        cox_log(p->host, COX_LOG_ERROR, "no free port on %s for %s", p->address, spec->member);
        p->host->ticket_done(p->host, ticket, COX_TICKET_NO_CAPACITY, "no free port");
        return COX_OK;
    }
    struct environment e;
    make_environment(p, m, spec, &e);
    const struct cox_process process = {.size = sizeof process,
                                        .cartridge = spec->cartridge,
                                        .member = spec->member,
                                        .environment = {e.pairs, e.count, (uint32_t)sizeof e.pairs[0]}};
    m->start_ticket = ticket;
    const int32_t result = p->host->process_start(p->host, &process);
    if (result != COX_OK)
        forget(p, m);
    return result;
}

/* It is no more; the core may know it still, and forgets those that it does not know. */
static void tell_end(struct instance *p, const char *member, const char *reason)
{
    const struct cox_member_change change = {
        .size = sizeof change, .phase = COX_PHASE_TERMINATED, .member = member, .reason = reason};
    p->host->member_changed(p->host, &change);
}

static int32_t stop_member(void *instance, uint64_t ticket, const struct cox_stop *stop)
{
    struct instance *p = instance;
    struct member *m = find(p, stop->member);
    if (!m) { /* gone already: that is what was wanted */
        tell_end(p, stop->member, "there is no such process");
        p->host->ticket_done(p->host, ticket, COX_TICKET_DONE, NULL);
        return COX_OK;
    }
    m->stop_ticket = ticket;
    return p->host->process_stop(p->host, stop->member, stop->signo, stop->deadline_ms);
}

static int32_t list_members(void *instance)
{
    struct instance *p = instance;
    p->is_listing = true;
    return p->host->process_list(p->host);
}

/* ---- what the master says ---- */

static void tell_running(struct instance *p, const struct member *m)
{
    struct cox_port_address addresses[PORTS_MAX];
    char texts[PORTS_MAX][TEXT_BYTES];
    for (uint32_t i = 0; i < m->port_count; i++) {
        print_address(p, m->ports[i].number, texts[i]);
        addresses[i] = (struct cox_port_address){
            .size = sizeof addresses[i], .port = m->ports[i].name, .address = texts[i]};
    }
    const struct cox_member_change change = {
        .size = sizeof change,
        .phase = COX_PHASE_RUNNING,
        .member = m->id,
        .set = m->set,
        .partition = m->partition,
        .network_partition = m->network,
        .pid = m->pid,
        .addresses = {addresses, m->port_count, (uint32_t)sizeof addresses[0]}};
    p->host->member_changed(p->host, &change);
}

static void on_started(struct instance *p, const struct cox_process_event *e)
{
    struct member *m = find(p, e->member);
    if (!m)
        return; /* another instance's */
    m->pid = e->pid;
    const uint64_t ticket = m->start_ticket;
    m->start_ticket = 0;
    if (ticket)
        p->host->ticket_done(p->host, ticket, COX_TICKET_DONE, NULL);
    tell_running(p, m);
}

static void on_failed(struct instance *p, const struct cox_process_event *e)
{
    struct member *m = find(p, e->member);
    if (!m)
        return;
    const uint64_t tickets[] = {m->start_ticket, m->stop_ticket};
    forget(p, m);
    if (tickets[0])
        p->host->ticket_done(p->host, tickets[0], COX_TICKET_FAILED, e->error);
    if (!tickets[1])
        return;
    /* It was to go again before it was there: the start's ticket says nothing to the core any more. */
    tell_end(p, e->member, e->error);
    p->host->ticket_done(p->host, tickets[1], COX_TICKET_DONE, NULL);
}

static void on_exited(struct instance *p, const struct cox_process_event *e)
{
    struct member *m = find(p, e->member);
    if (!m)
        return;
    char reason[TEXT_BYTES];
    if (WIFSIGNALED(e->status))
        (void)snprintf(reason, sizeof reason, "killed by signal %d", WTERMSIG(e->status));
    else
        (void)snprintf(reason, sizeof reason, "exited with status %d", WEXITSTATUS(e->status));
    const uint64_t tickets[] = {m->start_ticket, m->stop_ticket};
    forget(p, m);
    tell_end(p, e->member, reason);
    if (tickets[0])
        p->host->ticket_done(p->host, tickets[0], COX_TICKET_FAILED, reason);
    if (tickets[1])
        p->host->ticket_done(p->host, tickets[1], COX_TICKET_DONE, NULL);
}

static const char *variable(const struct cox_process_event *e, const char *key)
{
    for (uint32_t i = 0; i < e->environment.count; i++) {
        const struct cox_pair *pair = COX_AT(struct cox_pair, e->environment, i);
        if (strcmp(pair->key, key) == 0)
            return pair->value;
    }
    return "";
}

/* PORT_NAMES says which ports it has, PORT_<NAME> the number of each. */
static void recover_ports(struct member *m, const struct cox_process_event *e)
{
    char names[LIST_BYTES], key[TEXT_BYTES];
    char *rest = names;
    (void)snprintf(names, sizeof names, "%s", variable(e, "PORT_NAMES"));
    for (const char *name; (name = strsep(&rest, " ")) && m->port_count < PORTS_MAX;) {
        port_variable(name, key);
        const unsigned long number = strtoul(variable(e, key), NULL, 10);
        if (number == 0 || number > 65535)
            continue;
        struct port *port = &m->ports[m->port_count++];
        port->number = (uint16_t)number;
        (void)snprintf(port->name, NAME_BYTES, "%s", name);
    }
}

static void on_listed(struct instance *p, const struct cox_process_event *e)
{
    if (strcmp(variable(e, "ACTUATOR"), p->host->instance) != 0)
        return;
    struct member *m = find(p, e->member);
    if (!m) {
        m = add(p, e->member, variable(e, "SET"), variable(e, "PARTITION"), variable(e, "NETWORK_PARTITION"));
        if (!m)
            return;
        recover_ports(m, e);
    }
    m->pid = e->pid;
    tell_running(p, m);
}

static void on_process(void *ctx, const struct cox_process_event *e)
{
    struct instance *p = ctx;
    switch (e->kind) {
    case COX_PROCESS_STARTED:
        on_started(p, e);
        break;
    case COX_PROCESS_FAILED:
        on_failed(p, e);
        break;
    case COX_PROCESS_EXITED:
        on_exited(p, e);
        break;
    case COX_PROCESS_LISTED:
        on_listed(p, e);
        break;
    case COX_PROCESS_LIST_END:
        if (p->is_listing) {
            p->is_listing = false;
            p->host->list_done(p->host);
        }
        break;
    default:
        break;
    }
}

/* ---- life ---- */

static int32_t process_open(const struct cox_host *host, const struct cox_open *args, void **out_instance)
{
    struct instance *p = calloc(1, sizeof *p);
    if (!p)
        return COX_FAILED;
    p->host = host;
    p->address = cox_option_at(args->options, OPTION_ADDRESS)->text;
    p->port_min = (uint16_t)cox_option_at(args->options, OPTION_PORT_MIN)->i;
    p->port_max = (uint16_t)cox_option_at(args->options, OPTION_PORT_MAX)->i;
    p->report_ns = (uint64_t)cox_option_at(args->options, OPTION_REPORT_INTERVAL)->i * 1000000;
    p->processors = cox_option_at(args->options, OPTION_MEMBER_PROCESSORS)->f;
    p->memory_bytes = (double)cox_option_at(args->options, OPTION_MEMBER_MEMORY)->i;
    if (p->memory_bytes <= 0)
        p->memory_bytes = (double)usage_machine_bytes();
    const char *wrong = NULL;
    if (!parse_address(p, p->address))
        wrong = "address must be an IPv4 or IPv6 address without a port";
    else if (!(p->processors > 0))
        wrong = "member_processors must be above 0";
    else if ((p->port_min == 0) != (p->port_max == 0) || p->port_min > p->port_max)
        wrong = "port_min and port_max must be given together, the lower first";
    if (wrong) {
        host->error(host, wrong);
        free(p);
        return COX_FAILED;
    }
    *out_instance = p;
    return COX_OK;
}

static int32_t process_begin(void *instance)
{
    struct instance *p = instance;
    if (p->report_ns)
        p->reports = p->host->timer_start(p->host, REPORTS_MS, REPORTS_MS, reports_turn, p);
    return p->host->process_watch(p->host, on_process, p);
}

/* The members go on: a new orchestrator will find them. An orderly stop of the program is the master's to do.
 */
static void process_end(void *instance)
{
    struct instance *p = instance;
    p->host->timer_stop(p->host, &p->reports);
}

static void process_close(void *instance)
{
    struct instance *p = instance;
    while (p->members)
        forget(p, p->members);
    free(p);
}

static const struct cox_actuator actuator = {.size = sizeof actuator,
                                             .granularity = COX_GRANULARITY_MEMBER,
                                             .list = list_members,
                                             .start_member = start_member,
                                             .stop_member = stop_member};

COX_EXPORT const struct cox_plugin cox_plugin = {.size = sizeof cox_plugin,
                                                 .abi = COX_ABI,
                                                 .name = "process",
                                                 .summary = "runs members as processes of this machine",
                                                 .version = "1",
                                                 .options = COX_ARRAY(options),
                                                 .open = process_open,
                                                 .start = process_begin,
                                                 .stop = process_end,
                                                 .close = process_close,
                                                 .actuator = &actuator};
