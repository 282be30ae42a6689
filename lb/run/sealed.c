#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run/channel.h"

static const int all_seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

static bool write_all(int fd, struct str bytes)
{
    while (bytes.n) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n <= 0)
            return false;
        bytes = str_make(bytes.p + n, bytes.n - (size_t)n);
    }
    return true;
}

int sealed_memfd(const char *name, struct str bytes)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (write_all(fd, bytes) && fcntl(fd, F_ADD_SEALS, all_seals) == 0)
        return fd;
    close(fd);
    return -1;
}

bool sealed_map(int fd, struct str *out_bytes)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    /* Without all three the sender could change or cut the bytes under our eyes: a SIGBUS at best. */
    int needed = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
    if (seals < 0 || (seals & needed) != needed || fstat(fd, &st) != 0)
        return false;
    if (st.st_size < 0 || (uint64_t)st.st_size > CHANNEL_PAYLOAD_MAX)
        return false;
    *out_bytes = STR("");
    if (st.st_size == 0)
        return true;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return false;
    *out_bytes = str_make(p, (size_t)st.st_size);
    return true;
}

void sealed_unmap(struct str bytes)
{
    if (bytes.n)
        munmap((void *)(uintptr_t)bytes.p, bytes.n);
}
