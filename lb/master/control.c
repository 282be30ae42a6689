#include "master/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "master/master.h"
#include "net/addr.h"

#define CLIENT_MAGIC 0x63746c63u
enum { BACKLOG = 16 };

/* ---- clients ---- */

static void client_destroy(struct control_client *c)
{
    list_remove(&c->node);
    c->master->control.client_count--;
    watch_stop(&c->watch);
    timer_stop(&c->timeout);
    close(c->fd);
    c->magic = 0;
    free(c);
}

void control_answer(struct control_client *c, struct str text, const int *fds, int fd_count)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * CONTROL_FDS_MAX)];
        struct cmsghdr align;
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)text.p, text.n};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
    ASSERT(fd_count <= CONTROL_FDS_MAX);
    if (fd_count) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fd_count);
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fd_count);
        memcpy(CMSG_DATA(h), fds, sizeof(int) * (size_t)fd_count);
    }
    if (sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_warn("control: cannot answer: %m");
}

static void answer_text(struct control_client *c, const char *word, struct str text)
{
    struct buf b;
    buf_init(&b);
    buf_printf(&b, "%s\n", word);
    buf_put_str(&b, text);
    control_answer(c, buf_str(&b), NULL, 0);
    buf_fini(&b);
}

static void on_timeout(void *ctx)
{
    struct control_client *c = ctx;
    CHECK_MAGIC(c, CLIENT_MAGIC);
    c->waits_admin = 0;
    answer_text(c, "error", STR("the orchestrator did not answer in time\n"));
}

/* ---- requests ---- */

static void forward(struct control_client *c, struct str text)
{
    struct master *m = c->master;
    struct packer p = {.len = 0};
    if (!m->orchestrator.channel || m->orchestrator.state != ORCHESTRATOR_UP) {
        answer_text(c, "error", STR("the orchestrator is not up; try again in a moment\n"));
        return;
    }
    c->waits_admin = ++m->control.last_request;
    pack_u64(&p, c->waits_admin);
    pack_str(&p, text);
    orchestrator_tell(m, CHANNEL_ADMIN, pack_result(&p), NULL, 0);
    timer_arm(&c->timeout, CONTROL_ADMIN_TIMEOUT_MS);
}

static void request_reload(struct control_client *c)
{
    if (is_stopping(c->master)) {
        answer_text(c, "error", STR("the program is being stopped\n"));
        return;
    }
    /* Before the request: a run that fails at once answers from inside it. */
    c->waits_reload = c->master->reload.serial + 1;
    reload_request(c->master);
}

static void request_upgrade(struct control_client *c)
{
    c->waits_upgrade = true;
    upgrade_request(c->master);
}

static bool is_for_orchestrator(struct str word)
{
    static const char *const words[] = {"drain", "undrain", "scale", "explain", "replay"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (str_eq(word, str_of(words[i])))
            return true;
    return false;
}

static void handle(struct control_client *c, struct str text)
{
    struct str rest = text, word;
    if (!str_next(&rest, ' ', &word))
        word = STR("");
    if (str_eq(text, STR("status")))
        control_status(c);
    else if (str_eq(text, STR("version")))
        answer_text(c, "ok", str_of(master_version()));
    else if (str_eq(text, STR("reload")))
        request_reload(c);
    else if (str_eq(text, STR("upgrade")))
        request_upgrade(c);
    else if (is_for_orchestrator(word))
        forward(c, text);
    else if (str_eq(text, STR("stop"))) {
        answer_text(c, "ok", STR(""));
        if (!is_stopping(c->master)) /* a second `stop` is no reason to hurry; a second signal is */
            stop_begin(c->master);
    } else
        answer_text(c, "error", STR("unknown request\n"));
}

static void on_request(int fd, short events, void *ctx)
{
    struct control_client *c = ctx;
    char text[CONTROL_REQUEST_MAX];
    CHECK_MAGIC(c, CLIENT_MAGIC);
    (void)events;
    ssize_t n = recv(fd, text, sizeof text, MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || n > (ssize_t)sizeof text) {
        client_destroy(c);
        return;
    }
    struct str request = str_make(text, (size_t)n);
    while (request.n && (request.p[request.n - 1] == '\n' || request.p[request.n - 1] == 0))
        request.n--;
    if (c->waits_admin || c->waits_reload || c->waits_upgrade)
        answer_text(c, "error", STR("one request at a time\n"));
    else
        handle(c, request);
}

static struct control_client *client_create(struct master *m, int fd)
{
    struct control_client *c = must(calloc(1, sizeof *c));
    c->magic = CLIENT_MAGIC;
    c->master = m;
    c->fd = fd;
    list_init(&c->node);
    list_push(&m->control.clients, &c->node);
    m->control.client_count++;
    timer_init(&c->timeout, &m->loop, on_timeout, c);
    watch_start(&c->watch, &m->loop, fd, EV_READ, on_request, c);
    return c;
}

static void on_connect(int fd, short events, void *ctx)
{
    struct master *m = ctx;
    CHECK_MAGIC(m, MASTER_MAGIC);
    (void)events;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0)
        return;
    if (m->control.client_count >= CONTROL_CLIENTS_MAX)
        close(client);
    else
        client_create(m, client);
}

/* ---- reports ---- */

void control_on_reload_done(struct master *m, uint64_t serial, bool ok, struct str text)
{
    for (struct list *l = m->control.clients.next; l != &m->control.clients; l = l->next) {
        struct control_client *c = CONTAINER_OF(l, struct control_client, node);
        if (c->waits_reload && c->waits_reload <= serial) {
            c->waits_reload = 0;
            answer_text(c, ok ? "ok" : "error", text);
        } else if (c->waits_upgrade && m->reload.is_upgrade) {
            /* The run that ended was the one after an exec. */
            c->waits_upgrade = false;
            answer_text(c, ok ? "ok" : "error", text);
        }
    }
}

void control_on_admin_answer(struct master *m, uint64_t request, struct str text)
{
    for (struct list *l = m->control.clients.next; l != &m->control.clients; l = l->next) {
        struct control_client *c = CONTAINER_OF(l, struct control_client, node);
        if (c->waits_admin != request)
            continue;
        c->waits_admin = 0;
        timer_stop(&c->timeout);
        control_answer(c, text, NULL, 0);
    }
}

void control_on_upgrade_failed(struct master *m, const char *why)
{
    for (struct list *l = m->control.clients.next; l != &m->control.clients; l = l->next) {
        struct control_client *c = CONTAINER_OF(l, struct control_client, node);
        if (!c->waits_upgrade)
            continue;
        c->waits_upgrade = false;
        answer_text(c, "error", str_of(why));
    }
}

int control_upgrade_waiter(const struct master *m)
{
    for (struct list *l = m->control.clients.next; l != &m->control.clients; l = l->next) {
        const struct control_client *c = CONTAINER_OF(l, struct control_client, node);
        if (c->waits_upgrade)
            return c->fd;
    }
    return -1;
}

/* ---- the socket ---- */

static void make_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return;
    char *folder = str_dup(str_make(path, (size_t)(slash - path)));
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        log_warn("cannot make the folder %s: %m", folder);
    free(folder);
}

/* Someone else's folder in /tmp could hold a trap. */
static bool is_own_folder(const char *path, struct buf *error)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path || strncmp(path, "/tmp/coxswain-", 14) != 0)
        return true;
    char *folder = str_dup(str_make(path, (size_t)(slash - path)));
    struct stat st;
    bool ok = lstat(folder, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022);
    if (!ok)
        buf_printf(error, "control socket: %s is not a folder of ours alone; set `control`\n", folder);
    free(folder);
    return ok;
}

/* False when someone accepts there. */
static bool clear_path(const struct addr *a, struct buf *error)
{
    struct stat st;
    if (lstat(a->un.sun_path, &st) != 0)
        return true;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool lives = fd >= 0 && connect(fd, &a->sa, a->len) == 0;
    if (fd >= 0)
        close(fd);
    if (lives || !S_ISSOCK(st.st_mode)) {
        buf_printf(error,
                   "control socket: %s is in use%s; set `control` to another path for a second instance\n",
                   a->un.sun_path, lives ? " by a running coxswain" : "");
        return false;
    }
    return unlink(a->un.sun_path) == 0;
}

static int listen_at(const char *path, struct buf *error)
{
    struct addr a = {.len = sizeof a.un};
    if (strlen(path) >= sizeof a.un.sun_path) {
        buf_printf(error, "control socket: the path %s is too long\n", path);
        return -1;
    }
    a.un.sun_family = AF_UNIX;
    memcpy(a.un.sun_path, path, strlen(path) + 1);
    if (!is_own_folder(path, error) || !clear_path(&a, error))
        return -1;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0177);
    bool ok = fd >= 0 && bind(fd, &a.sa, a.len) == 0 && listen(fd, BACKLOG) == 0;
    umask(before);
    if (ok)
        return fd;
    buf_printf(error, "control socket %s: %s\n", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static void serve(struct master *m, const char *path, int fd)
{
    struct control *c = &m->control;
    c->path = str_dup(str_of(path));
    c->fd = fd;
    list_init(&c->clients);
    watch_start(&c->watch, &m->loop, fd, EV_READ, on_connect, m);
}

bool control_start(struct master *m, const char *path, struct buf *error)
{
    make_folder(path);
    int fd = listen_at(path, error);
    if (fd < 0)
        return false;
    serve(m, path, fd);
    return true;
}

void control_adopt(struct master *m, const char *path, int fd, int waiting_fd)
{
    serve(m, path, fd);
    if (waiting_fd >= 0)
        client_create(m, waiting_fd)->waits_upgrade = true;
}

void control_stop(struct master *m, bool unlink_path)
{
    struct control *c = &m->control;
    if (c->fd < 0)
        return;
    while (!list_is_empty(&c->clients))
        client_destroy(CONTAINER_OF(c->clients.next, struct control_client, node));
    watch_stop(&c->watch);
    close(c->fd);
    c->fd = -1;
    if (unlink_path)
        unlink(c->path);
    free(c->path);
    c->path = NULL;
}
