/* decide: what one decision of a scaler plugin costs. A set of which the load moves up and down by a third in
 * ten minutes, ticked every 100 ms. */
#ifndef COX_BENCH_DECIDE_H
#define COX_BENCH_DECIDE_H

#include <stdint.h>

struct decider;

/* Loads the plugin with its defaults from the plugin folder of the build; dies with a line when it cannot. */
struct decider *decider_create(const char *plugin);
void decider_destroy(struct decider **d);
/* n decisions; a sum of the answers. */
uint64_t decider_run(struct decider *d, uint32_t n);

#endif
