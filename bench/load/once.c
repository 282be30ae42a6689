/* once: the floor of a connection per request. It takes a connection, reads a request, passes it on over a
 * connection to the server that it keeps, reads the answer, writes it, and closes: the system calls that any
 * proxy with kept server connections has to make, and none of its work.
 *
 *   once LISTEN_PORT SERVER_PORT
 *
 * One thread, raw epoll, edge-triggered, registered once a connection. What comes in one read is taken for a
 * whole request, or a whole answer: enough for the bench's small ones, not for more. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SCRATCH = 65536, EVENTS_MAX = 256 };

/* A connection to a client, or to the server. */
struct end {
    int fd; /* -1: closed in this turn */
    bool is_server;
    struct end *partner; /* of a server end at work: whose request it is; of a client: who answers it */
    struct end *next;    /* in the list of idle server ends, or of dead ones */
};

struct once {
    int epoll_fd, listen_fd;
    struct sockaddr_in server;
    struct end *idle; /* connections to the server that nobody uses */
    struct end *dead; /* freed at the end of the turn: events of them may still be in the batch */
    char scratch[SCRATCH];
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct end *end_make(struct once *o, int fd, bool is_server)
{
    struct end *e = calloc(1, sizeof(*e));
    struct epoll_event what = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = e};
    if (e == NULL || fd < 0 || epoll_ctl(o->epoll_fd, EPOLL_CTL_ADD, fd, &what) < 0)
        die("once: connection");
    e->fd = fd;
    e->is_server = is_server;
    return e;
}

static void end_drop(struct once *o, struct end *e)
{
    if (e->fd < 0)
        return;
    close(e->fd);
    e->fd = -1;
    if (e->partner != NULL)
        e->partner->partner = NULL;
    e->partner = NULL;
    e->next = o->dead;
    o->dead = e;
}

/* An idle one, or a new one; connecting to loopback waits for nobody. */
static struct end *server_take(struct once *o)
{
    struct end *e = o->idle;
    if (e != NULL) {
        o->idle = e->next;
        return e;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (fd < 0 || connect(fd, (struct sockaddr *)&o->server, sizeof(o->server)) < 0)
        die("once: connect");
    return end_make(o, fd, true);
}

static void on_request(struct once *o, struct end *client, size_t n)
{
    if (client->partner != NULL)
        return; /* more than one request: not what this is for */
    struct end *server = server_take(o);
    client->partner = server;
    server->partner = client;
    if (send(server->fd, o->scratch, n, MSG_NOSIGNAL) != (ssize_t)n)
        die("once: the server does not take a request");
}

static void on_answer(struct once *o, struct end *server, size_t n)
{
    struct end *client = server->partner;
    if (client != NULL) {
        (void)!send(client->fd, o->scratch, n, MSG_NOSIGNAL); /* it may have left */
        end_drop(o, client);
    }
    server->next = o->idle;
    o->idle = server;
}

static void on_event(struct once *o, struct end *e)
{
    if (e->fd < 0)
        return;
    ssize_t n = recv(e->fd, o->scratch, SCRATCH, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 && e->is_server)
        die("once: the server has left");
    if (n <= 0 && e->partner == NULL)
        end_drop(o, e);
    else if (n > 0 && e->is_server)
        on_answer(o, e, (size_t)n);
    else if (n > 0)
        on_request(o, e, (size_t)n);
}

static void accept_all(struct once *o)
{
    int fd;
    while ((fd = accept4(o->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        end_make(o, fd, false);
}

static void reap(struct once *o)
{
    while (o->dead != NULL) {
        struct end *e = o->dead;
        o->dead = e->next;
        free(e);
    }
}

static struct sockaddr_in here(const char *port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void start(struct once *o, char **argv)
{
    struct sockaddr_in a = here(argv[1]);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    int on = 1;
    o->server = here(argv[2]);
    o->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    o->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(o->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(o->listen_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* what is accepted inherits it */
    if (o->listen_fd < 0 || bind(o->listen_fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
        listen(o->listen_fd, 4096) < 0 || epoll_ctl(o->epoll_fd, EPOLL_CTL_ADD, o->listen_fd, &e) < 0)
        die("once: listen");
}

int main(int argc, char **argv)
{
    static struct once o;
    struct epoll_event events[EVENTS_MAX];
    if (argc != 3) {
        fprintf(stderr, "usage: once LISTEN_PORT SERVER_PORT\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    start(&o, argv);
    for (;;) {
        int n = epoll_wait(o.epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                accept_all(&o);
            else
                on_event(&o, events[i].data.ptr);
        }
        reap(&o);
    }
}
