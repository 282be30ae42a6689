lb_conf_sources = \
	lb/conf/settings_place.h lb/conf/settings_tables_place.c lb/conf/settings_check_place.c \
	lb/conf/settings_route.h lb/conf/settings_tables_route.c lb/conf/settings_check_route.c \
	lb/conf/name_set.c lb/conf/name_set.h lb/conf/condition.c lb/conf/condition.h lb/conf/template.c lb/conf/template.h \
	lb/conf/address.c lb/conf/address.h lb/conf/log_format.c lb/conf/log_format.h \
	lb/conf/options.c lb/conf/options.h lb/conf/options_row.h \
	lb/conf/options_text.c lb/conf/options_format.c lb/conf/options_wire.c lb/conf/options_manual.c \
	lb/conf/guard_settings.h lb/conf/settings_guard.c lb/conf/settings_guard.h lb/conf/settings_tables_guard.c \
	lb/conf/source.c lb/conf/source.h \
	lb/conf/reader.c lb/conf/reader_places.c lb/conf/reader.h \
	lb/conf/settings.c lb/conf/settings.h \
	lb/conf/settings_tls.h lb/conf/settings_tables_tls.c lb/conf/settings_check_tls.c \
	lb/conf/settings_check_answer.c lb/conf/settings_check_cluster.c lb/conf/settings_syslog.c lb/conf/settings_check.c lb/conf/settings_check.h \
	lb/conf/cron.c lb/conf/cron.h lb/conf/settings_scale.h lb/conf/settings_tables_scale.c lb/conf/settings_check_scale.c \
	lb/conf/settings_rows.h lb/conf/settings_tables.c lb/conf/settings_tables_cluster.c lb/conf/settings_tables_h2.c
