/* settings_check: what no single row can know: references between sections, addresses, names, contradictions.
 * Reports every error at the place of the key that is wrong. Used by settings_load alone. */
#ifndef COX_CONF_SETTINGS_CHECK_H
#define COX_CONF_SETTINGS_CHECK_H

#include "conf/reader.h"
#include "conf/settings.h"

void settings_check(const struct settings *s, struct reader *r);
/* Parts of it. */
void settings_check_compress(const struct compress_settings *c, struct reader *r);

/* settings_check_place.c: partitions and the policies that spread sets over them. */
void settings_check_place(const struct settings *s, struct reader *r);
/* settings_syslog.c */
void settings_check_syslog(const struct settings *s, struct reader *r);

/* settings_check_tls.c: keys of TLS, and that their files can be read. */
void settings_check_tls(const struct settings *s, struct reader *r);

/* settings_check_scale.c: policies and clusters with scale; and of each set whose most members are `max` what it says of scaling. Settling reads
 * its schedules. */
void settings_check_policies(const struct settings *s, struct reader *r);
void settings_settle_scaling(struct scaling_settings *scaling, struct reader *r);
void settings_check_scaling(const struct settings *s, struct reader *r, const struct scaling_settings *scaling,
                            int64_t max);

#endif
