/* fcgi: the barest FastCGI client there can be: opens a connection, writes one request, reads to the end,
 * closes; one after another. What it costs is the floor for a proxy that does the same.
 *
 *   fcgi PORT SCRIPT SECONDS [RATE]
 *
 * Prints one line of JSON: requests, errors, seconds, and the CPU microseconds of one request. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BEGIN_REQUEST = 1, PARAMS = 4, STDIN = 5, RESPONDER = 1, REQUEST_MAX = 4096 };

struct request {
    unsigned char bytes[REQUEST_MAX];
    size_t len;
};

/* A record's header; the content follows. */
static void record(struct request *r, int type, size_t content)
{
    unsigned char head[8] = {1, (unsigned char)type,           0,
                             1, (unsigned char)(content >> 8), (unsigned char)content};
    memcpy(r->bytes + r->len, head, sizeof(head));
    r->len += sizeof(head);
}

static size_t pair(unsigned char *to, const char *name, const char *value)
{
    size_t n = strlen(name), v = strlen(value);
    to[0] = (unsigned char)n; /* all of ours are below 128 */
    to[1] = (unsigned char)v;
    memcpy(to + 2, name, n);
    memcpy(to + 2 + n, value, v);
    return 2 + n + v;
}

static void build(struct request *r, const char *script)
{
    const char *pairs[][2] = {{"GATEWAY_INTERFACE", "CGI/1.1"}, {"REQUEST_METHOD", "GET"},
                              {"SCRIPT_FILENAME", script},      {"SCRIPT_NAME", "/php"},
                              {"REQUEST_URI", "/php"},          {"QUERY_STRING", ""},
                              {"SERVER_PROTOCOL", "HTTP/1.1"},  {"SERVER_NAME", "127.0.0.1"},
                              {"REMOTE_ADDR", "127.0.0.1"},     {"HTTP_HOST", "127.0.0.1"}};
    unsigned char content[2048];
    size_t n = 0;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        n += pair(content + n, pairs[i][0], pairs[i][1]);
    record(r, BEGIN_REQUEST, 8);
    memset(r->bytes + r->len, 0, 8);
    r->bytes[r->len + 1] = RESPONDER;
    r->len += 8;
    record(r, PARAMS, n);
    memcpy(r->bytes + r->len, content, n);
    r->len += n;
    record(r, PARAMS, 0);
    record(r, STDIN, 0);
}

static bool talk(const struct request *r, const struct sockaddr_in *server)
{
    char answer[16384];
    ssize_t n, all = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    bool ok = fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
              connect(fd, (const struct sockaddr *)server, sizeof(*server)) == 0 &&
              write(fd, r->bytes, r->len) == (ssize_t)r->len;
    while (ok && (n = read(fd, answer + all, sizeof(answer) - (size_t)all)) > 0)
        all += n;
    if (fd >= 0)
        close(fd);
    return ok && all > 8 && memmem(answer, (size_t)all, "Hello", 5) != NULL;
}

static double clock_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void sleep_until(double at)
{
    struct timespec t = {.tv_sec = (time_t)at, .tv_nsec = (long)((at - (double)(time_t)at) * 1e9)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    static struct request r;
    uint64_t done = 0, errors = 0;
    if (argc < 4 || strlen(argv[2]) > 100) {
        fprintf(stderr, "usage: fcgi PORT SCRIPT SECONDS [RATE]\n");
        return 64;
    }
    struct sockaddr_in server = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10)),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    double seconds = strtod(argv[3], NULL), rate = argc > 4 ? strtod(argv[4], NULL) : 0;
    build(&r, argv[2]);
    prctl(PR_SET_TIMERSLACK, 1);
    double began = clock_s(), cpu = cpu_s(), now = began;
    for (; now < began + seconds; now = clock_s()) {
        bool ok = talk(&r, &server);
        done += ok;
        errors += !ok;
        if (rate > 0)
            sleep_until(began + (double)(done + errors) / rate);
    }
    cpu = cpu_s() - cpu;
    printf("{\"requests\": %llu, \"errors\": %llu, \"seconds\": %.6f, \"cpu_us\": %.3f}\n",
           (unsigned long long)done, (unsigned long long)errors, now - began,
           cpu * 1e6 / (double)(done + errors));
    return done == 0;
}
