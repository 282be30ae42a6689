/* channel: messages between the three processes, over SOCK_SEQPACKET socket pairs.
 *
 *   master ──(M-P)── proxy n        master ──(M-O)── orchestrator        orchestrator ──(O-P)── proxy n
 *
 * Both ends of M-P and M-O are made by the master before it forks. For O-P the master makes a pair and hands
 * one end over M-O (CHANNEL_PROXY_UP) and the other over M-P (CHANNEL_ORCHESTRATOR_UP), again whenever one
 * side was replaced.
 *
 * A message is a frozen head and a payload of at most CHANNEL_INLINE_MAX bytes; a larger payload travels as a
 * sealed memfd (the reader copies it out or maps it read-only). Up to 4 descriptors may come along. Nothing
 * ever blocks: what the socket does not take waits in a bounded queue; when that is full the oldest topology
 * message is dropped and `lost` is set, so that the sender sends one whole topology instead. A channel
 * belongs to one thread. A peer that breaks the framing is treated as gone. */
#ifndef COX_RUN_CHANNEL_H
#define COX_RUN_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "run/loop.h"

#define CHANNEL_MAGIC       0x63786368u /* "cxch" */
#define CHANNEL_VERSION     1
#define CHANNEL_INLINE_MAX  32768
#define CHANNEL_FDS_MAX     4
#define CHANNEL_QUEUE_MAX   1024
#define CHANNEL_PAYLOAD_MAX (256u << 20)

enum channel_type {
    /* any → any */
    CHANNEL_HELLO = 1, /* version word of the sender */
    /* orchestrator → proxy, master → proxy (the initial one) */
    CHANNEL_TOPOLOGY = 10, /* whole topology */
    CHANNEL_TOPOLOGY_DIFF, /* difference since sequence (epoch, number) in the payload */
    CHANNEL_WAKE_ACK,      /* WAKE or SATURATED was taken: tell of the next */
    /* proxy → orchestrator */
    CHANNEL_TOPOLOGY_ACK = 20, /* epoch, number: every worker serves it */
    CHANNEL_TOPOLOGY_ASK,      /* send the whole */
    CHANNEL_WAKE,              /* cluster id: it holds requests and has no endpoint */
    CHANNEL_SATURATED,         /* cluster id */
    /* proxy → master */
    CHANNEL_READY = 30,      /* every worker serves a topology */
    CHANNEL_DRAINED,         /* nothing is in flight any more, about to leave */
    CHANNEL_PROXY_HEARTBEAT, /* once a second: all workers turned their loop */
    CHANNEL_CERTIFICATES, /* also to the orchestrator: what listeners show; items to the end of the payload:
                             (str listener, str file, str host, u64 end in seconds since 1970, u64 the file
                             itself is broken and this is the one before) */
    /* master → proxy */
    CHANNEL_DRAIN = 40, /* stop accepting, finish, leave; u64 drain_timeout_ms, u64 final: nobody serves after
                           us, so idle client connections are closed at once */
    CHANNEL_ORCHESTRATOR_UP, /* fd: new O-P channel */
    CHANNEL_LOG_FD,          /* fds: error log, access log (reopened) */
    CHANNEL_FAIL_READY,      /* /readyz answers 503 from now on (shutdown_delay) */
    CHANNEL_TLS_FILES, /* also to the orchestrator; fd: the files of TLS (run/bundle.h), which have changed */
    CHANNEL_TICKET_KEYS, /* struct ticket_keys (run/tickets.h) */
    /* master → orchestrator */
    CHANNEL_PROXY_UP = 50,  /* u64 generation; fds: O-P channel, ledger segment */
    CHANNEL_PROXY_GONE,     /* u64 generation */
    CHANNEL_MEMBER_EXIT,    /* member id, status */
    CHANNEL_MEMBER_STARTED, /* member id, pid, or pid 0 and an error text */
    CHANNEL_MEMBER_LIST,    /* all members of the process actuator that live and are not being stopped */
    CHANNEL_ADMIN,          /* u64 request id, text command from coxctl, e.g. "drain MEMBER" */
    CHANNEL_QUIT,           /* leave in order */
    /* orchestrator → master */
    CHANNEL_PUBLISHED = 70, /* whole topology as sealed memfd (fd), at most one a second */
    CHANNEL_MEMBER_START,   /* cartridge name, member id, environment */
    CHANNEL_MEMBER_STOP,    /* member id, signal, kill after ms */
    CHANNEL_MEMBER_ASK_LIST,
    CHANNEL_ADMIN_ANSWER, /* u64 request id, text */
    CHANNEL_ORCH_HEARTBEAT
};

/* Payloads, in the order they are packed (u = pack_u64, s = pack_str); a list is its count, then its items:
 *   TOPOLOGY, TOPOLOGY_DIFF   the bytes of topology_encode, topology_diff_encode
 *   TOPOLOGY_ACK              u epoch, u number
 *   WAKE, SATURATED           s cluster id, u slot, s request id, u monotonic ns of its ROUTE (run/wake.h)
 *   WAKE_ACK                  u slot, u kind
 *   PROXY_UP                  u generation; fds: O-P channel, ledger segment
 *   PROXY_GONE                u generation
 *   MEMBER_START              s cartridge, s member id, u count, count × (s name, s value)
 *   MEMBER_STOP               s member id, u signal, u kill after ms (to the whole process group)
 *   MEMBER_STARTED            s member id, u pid, s error text (empty unless pid is 0)
 *   MEMBER_EXIT               s member id, u status as of waitpid
 *   MEMBER_LIST               u count, count × (s member id, s cartridge, u pid, u pairs, pairs × (s name, s
 * value)): the environment is what MEMBER_START brought, so that a new orchestrator can adopt ADMIN u request
 * id, s command;  ADMIN_ANSWER  u request id, s text ("ok …" or "error: …") PUBLISHED                 no
 * payload; fds: the sealed memfd heartbeats, ASK, ASK_LIST, READY, DRAINED, QUIT: no payload */
struct channel_message {
    enum channel_type type;
    struct str payload;       /* borrowed for the callback */
    int fds[CHANNEL_FDS_MAX]; /* the receiver owns them: take one by setting it to -1, the rest is closed
                                 after the callback */
    int fd_count;
};

struct channel;

/* on_message: one message; the channel may be destroyed in it. on_gone: the peer is gone; destroy it. */
struct channel_ops {
    void (*on_message)(void *owner, struct channel *c, struct channel_message *m);
    void (*on_gone)(void *owner, struct channel *c);
};

/* A connected pair, close-on-exec, non-blocking. */
bool channel_pair(int out_fds[2]) __attribute__((warn_unused_result));
/* Takes over fd. */
struct channel *channel_create(struct loop *loop, int fd, const struct channel_ops *ops, void *owner);
void channel_destroy(struct channel **c);
/* Queues or sends; fds are duplicated. False when the peer is gone. */
bool channel_send(struct channel *c, enum channel_type type, struct str payload, const int *fds,
                  int fd_count);
/* True once after messages were dropped for want of room. */
bool channel_take_lost(struct channel *c);
/* A sealed memfd with these bytes (F_SEAL_WRITE|SHRINK|GROW|SEAL), -1 on failure; and its content mapped
 * read-only. */
int sealed_memfd(const char *name, struct str bytes) __attribute__((warn_unused_result));
bool sealed_map(int fd, struct str *out_bytes)
    __attribute__((warn_unused_result)); /* checks the seals; munmap by sealed_unmap */
void sealed_unmap(struct str bytes);

/* For handing a channel over an exec: the descriptor (still owned by the channel), and whether nothing waits.
 */
int channel_fd(const struct channel *c);
bool channel_is_idle(const struct channel *c);

/* Little helpers for payloads: fixed-width little-endian numbers (8 bytes) and texts with a 4-byte length,
 * read with bounds checks. The payloads, field by field ("..." repeats to the end of the payload):
 *
 *   DRAIN u64 drain_timeout_ms          PROXY_UP u64 generation; fds: O-P channel, ledger
 *   PROXY_GONE u64 generation           PUBLISHED fd: sealed topology
 *   MEMBER_START str cartridge, str member, u64 pairs, pairs times (str name, str value)
 *   MEMBER_STOP str member, u64 signal number, u64 kill after ms
 *   MEMBER_STARTED str member, u64 pid (0: failed), str error
 *   MEMBER_EXIT str member, u64 status as waitpid gives it
 *   MEMBER_LIST u64 count, (str member, str cartridge, u64 pid, u64 pairs, pairs times (str name, str
 * value))... ADMIN, ADMIN_ANSWER u64 request, str text; an answer begins with "ok" or "error" */
struct packer {
    char bytes[4096];
    size_t len;
    bool overflow;
};
void pack_u64(struct packer *p, uint64_t v);
void pack_str(struct packer *p, struct str s);
static inline struct str pack_result(const struct packer *p)
{
    return str_make(p->bytes, p->len);
}
bool unpack_u64(struct str *in, uint64_t *out_v) __attribute__((warn_unused_result));
bool unpack_str(struct str *in, struct str *out_s) __attribute__((warn_unused_result));
/* The same into a growing buffer, for what has no natural bound. */
struct buf;
void buf_pack_u64(struct buf *b, uint64_t v);
void buf_pack_str(struct buf *b, struct str s);

#endif
