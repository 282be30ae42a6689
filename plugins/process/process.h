/* process: the inside of the plugin, shared by its files.
 *
 *   process.c   the actuator: ports, environment, what the master is asked and says
 *   reports.c   load average and memory of the members
 *   usage.c     what /proc says of a process and its descendants */
#ifndef PLUGIN_PROCESS_H
#define PLUGIN_PROCESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <coxswain/plugin.h>

#define PORTS_MAX  32
#define RECENT_MAX 4096
#define NAME_BYTES 64
#define REPORTS_MS 250u

struct port {
    char name[NAME_BYTES];
    uint16_t number;
};

struct member {
    struct member *next;
    char *id, *set;                     /* owned */
    char *partition, *network;          /* owned; NULL: none */
    uint64_t start_ticket, stop_ticket; /* 0: none open */
    int64_t pid;
    uint32_t port_count;
    struct port ports[PORTS_MAX];
    uint64_t due_ns, seen_ns, cpu_ns; /* of its next and its last report; seen_ns 0: there was none */
    double load; /* processors that it kept busy, as a mean that forgets; < 0: not known yet */
};

struct recent {
    uint16_t port;
    uint64_t until_ns;
};

struct instance {
    const struct cox_host *host;
    const char *address; /* borrowed: of the options */
    struct sockaddr_storage bind_to;
    socklen_t bind_len;
    uint16_t port_min, port_max, cursor;
    struct member *members; /* owned */
    uint32_t member_count;
    struct recent recent[RECENT_MAX]; /* a ring */
    uint32_t recent_at;
    bool is_listing;
    struct cox_timer *reports; /* NULL: none are wanted */
    uint64_t report_ns;
    uint32_t report_cursor; /* how many of members come before the one that is looked at next */
    double processors, memory_bytes;
};

/* A cox_call_fn of the instance, every REPORTS_MS: looks at some members whose time has come. */
void reports_turn(void *instance);

#endif
