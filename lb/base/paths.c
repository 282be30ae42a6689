#include "base/paths.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"

char *control_default(void)
{
    struct buf path;
    buf_init(&path);
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (geteuid() == 0)
        buf_printf(&path, "/run/coxswain/control.sock");
    else if (runtime && runtime[0] == '/')
        buf_printf(&path, "%s/coxswain/control.sock", runtime);
    else
        buf_printf(&path, "/tmp/coxswain-%lu/control.sock", (unsigned long)geteuid());
    char *copy = str_dup(buf_str(&path));
    buf_fini(&path);
    return copy;
}
