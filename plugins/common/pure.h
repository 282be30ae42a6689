/* pure: the life of a plugin that is nothing but a scaler. All that such a plugin remembers is in the states,
 * which are the host's: an instance has nothing to open, start, stop or close. */
#ifndef COX_PLUGINS_PURE_H
#define COX_PLUGINS_PURE_H

#include <coxswain/plugin.h>

static inline int32_t pure_open(const struct cox_host *host, const struct cox_open *args, void **out_instance)
{
    (void)host;
    (void)args;
    *out_instance = NULL;
    return COX_OK;
}

static inline int32_t pure_start(void *instance)
{
    (void)instance;
    return COX_OK;
}

static inline void pure_nothing(void *instance)
{
    (void)instance;
}

/* To stand in a descriptor. */
#define PURE_LIFE .open = pure_open, .start = pure_start, .stop = pure_nothing, .close = pure_nothing

#endif
