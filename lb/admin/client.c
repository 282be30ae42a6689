#include "admin/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/panic.h"

bool client_open(struct client *c, const char *socket_path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    *c = (struct client){.fd = -1};
    if (strlen(socket_path) >= sizeof to.sun_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(to.sun_path, socket_path, strlen(socket_path) + 1);
    c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    return c->fd >= 0 && connect(c->fd, (struct sockaddr *)&to, sizeof to) == 0;
}

static void take_fds(struct client *c, struct msghdr *msg)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n && c->fd_count < CLIENT_FDS_MAX; i++)
            memcpy(&c->fds[c->fd_count++], CMSG_DATA(h) + i * sizeof(int), sizeof(int));
    }
}

static bool wait_readable(int fd, int timeout_s)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int rc;
    do
        rc = poll(&p, 1, timeout_s * 1000);
    while (rc < 0 && errno == EINTR);
    return rc > 0;
}

static bool is_separator(char c)
{
    return c == '\n' || c == ' ' || c == ':';
}

/* "ok TEXT", "ok: TEXT" and "ok\nTEXT" all. */
static void split(struct client *c, size_t n)
{
    struct str all = str_make(c->answer, n);
    c->ok = str_starts(all, STR("ok")) && (n == 2 || is_separator(all.p[2]));
    size_t head = c->ok ? 2 : str_starts(all, STR("error")) ? 5 : 0;
    while (head && head < n && is_separator(all.p[head]))
        head++;
    c->text = str_make(all.p + head, n - head);
}

bool client_ask(struct client *c, const char *request, int timeout_s)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * CLIENT_FDS_MAX)];
        struct cmsghdr align;
    } control;
    if (send(c->fd, request, strlen(request), MSG_NOSIGNAL) < 0 || !wait_readable(c->fd, timeout_s))
        return false;
    c->answer = must(malloc(CLIENT_ANSWER_MAX));
    struct iovec part = {c->answer, CLIENT_ANSWER_MAX};
    struct msghdr msg = {.msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC);
    if (n <= 0)
        return false;
    take_fds(c, &msg);
    split(c, (size_t)n);
    return true;
}

void client_wait_end(struct client *c)
{
    char rest[256];
    while (recv(c->fd, rest, sizeof rest, 0) > 0)
        ;
}

void client_close(struct client *c)
{
    for (int i = 0; i < c->fd_count; i++)
        if (c->fds[i] >= 0)
            close(c->fds[i]);
    if (c->fd >= 0)
        close(c->fd);
    free(c->answer);
    *c = (struct client){.fd = -1};
}
