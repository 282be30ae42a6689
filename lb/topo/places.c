#include "topo/places.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC   0x706c6163u
#define VERSION 1

struct places_header {
    uint32_t magic, version, max_endpoints, rows;
    _Atomic uint64_t owners[PLACES_ROWS]; /* number of the generation; 0: free. The master's to write */
};

#define HEADER_BYTES 4096

_Static_assert(sizeof(struct places_line) == 64, "one cache line");
_Static_assert(sizeof(struct places_header) <= HEADER_BYTES, "places begin on a page of their own");

static size_t bytes_of(uint32_t max_endpoints)
{
    return HEADER_BYTES + (size_t)max_endpoints * sizeof(struct places_line);
}

static void point(struct places *p, void *base, uint32_t max_endpoints)
{
    *p = (struct places){.base = base, .bytes = bytes_of(max_endpoints), .max_endpoints = max_endpoints};
    p->v = (struct places_line *)(void *)((char *)base + HEADER_BYTES);
}

int places_create(uint32_t max_endpoints)
{
    struct places_header header = {
        .magic = MAGIC, .version = VERSION, .max_endpoints = max_endpoints, .rows = PLACES_ROWS};
    int fd = memfd_create("coxswain places", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)bytes_of(max_endpoints)) == 0 &&
        pwrite(fd, &header, sizeof header, 0) == (ssize_t)sizeof header &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0)
        return fd;
    close(fd);
    return -1;
}

bool places_open(struct places *p, int fd, uint32_t row)
{
    struct places_header header;
    struct stat st;
    *p = (struct places){.base = NULL};
    if (row >= PLACES_ROWS || pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header)
        return false;
    if (header.magic != MAGIC || header.version != VERSION || header.rows != PLACES_ROWS ||
        fstat(fd, &st) != 0 || (uint64_t)st.st_size < bytes_of(header.max_endpoints))
        return false;
    void *base = mmap(NULL, bytes_of(header.max_endpoints), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return false;
    madvise(base, bytes_of(header.max_endpoints), MADV_DONTFORK); /* the orchestrator must not write there */
    point(p, base, header.max_endpoints);
    p->header = base;
    p->row = row;
    return true;
}

bool places_open_private(struct places *p, uint32_t max_endpoints)
{
    void *base = mmap(NULL, bytes_of(max_endpoints), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return false;
    point(p, base, max_endpoints);
    return true;
}

void places_close(struct places *p)
{
    if (p->base)
        munmap(p->base, p->bytes);
    *p = (struct places){.base = NULL};
}

int places_enter(struct places *p, uint64_t generation)
{
    for (int i = 0; i < PLACES_ROWS; i++)
        if (!atomic_load(&p->header->owners[i])) {
            atomic_store(&p->header->owners[i], generation);
            return i;
        }
    return -1;
}

static void take_back(struct places_line *place, uint32_t row)
{
    uint32_t held = atomic_exchange(&place->by[row], 0), n = atomic_load(&place->taken);
    while (held && !atomic_compare_exchange_weak(&place->taken, &n, n > held ? n - held : 0))
        ;
}

void places_leave(struct places *p, uint64_t generation)
{
    for (uint32_t row = 0; row < PLACES_ROWS; row++) {
        if (atomic_load(&p->header->owners[row]) != generation)
            continue;
        for (uint32_t slot = 0; slot < p->max_endpoints; slot++)
            take_back(&p->v[slot], row);
        atomic_store(&p->header->owners[row], 0);
    }
}

bool places_are_shared(const struct places *p)
{
    uint32_t living = 0;
    for (int i = 0; p->header && i < PLACES_ROWS; i++)
        living += atomic_load_explicit(&p->header->owners[i], memory_order_relaxed) != 0;
    return living > 1;
}

bool places_take(struct places *p, uint32_t slot, int64_t max)
{
    struct places_line *place = &p->v[slot];
    uint32_t n = atomic_load_explicit(&place->taken, memory_order_relaxed);
    if (n >= (uint64_t)max)
        return false;
    atomic_fetch_add_explicit(&place->by[p->row], 1, memory_order_seq_cst);
    while (n < (uint64_t)max)
        if (atomic_compare_exchange_weak(&place->taken, &n, n + 1))
            return true;
    atomic_fetch_sub_explicit(&place->by[p->row], 1, memory_order_seq_cst);
    return false;
}

void places_give(struct places *p, uint32_t slot)
{
    struct places_line *place = &p->v[slot];
    uint32_t n = atomic_load(&place->taken);
    while (n && !atomic_compare_exchange_weak(&place->taken, &n, n - 1))
        ;
    atomic_fetch_sub(&place->by[p->row], 1);
}
