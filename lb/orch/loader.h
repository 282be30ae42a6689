/* loader: a plugin's shared object, found, opened and checked. The one door to dlopen.
 *
 * Nothing of the plugin runs here but what its loading itself runs. Each thing that can be wrong is one line
 * of text: no such file, not a shared object, no descriptor, another ABI, a short descriptor, another name, a
 * malformed schema, a role without its functions. A loaded module belongs to the plugin instance that asked.
 */
#ifndef COX_ORCH_LOADER_H
#define COX_ORCH_LOADER_H

#include <coxswain/plugin.h>

#include "base/buf.h"

/* The descriptor as this build knows it: members that the plugin does not have are zero. */
struct module {
    void *handle;             /* owned: of dlopen */
    char *path;               /* owned */
    struct cox_plugin plugin; /* role pointers point at the copies below, or are NULL */
    struct cox_discovery discovery;
    struct cox_scaler scaler;
    struct cox_actuator actuator;
    struct cox_observer observer;
};

/* The plugin folder: what the config says, else $COXSWAIN_PLUGIN_DIR, else the one from `make install`. */
const char *loader_dir(const char *configured);
/* Loads DIR/NAME.so, or DIR/NAME/.libs/NAME.so as it stands in a build tree. False with one line (no line
 * end) in *why; the module is zero then. */
bool module_open(struct module *m, const char *dir, const char *name, struct buf *why)
    __attribute__((warn_unused_result));
void module_close(struct module *m);

#endif
