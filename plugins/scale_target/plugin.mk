plugin_LTLIBRARIES += plugins/scale_target/scale_target.la
plugins_scale_target_scale_target_la_SOURCES = plugins/scale_target/scale_target.c plugins/scale_target/history.h \
	plugins/common/pure.h plugins/common/say.h
plugins_scale_target_scale_target_la_CPPFLAGS = -I$(top_srcdir)/include -D_GNU_SOURCE
plugins_scale_target_scale_target_la_CFLAGS = $(AM_CFLAGS) -ffp-contract=off
plugins_scale_target_scale_target_la_LDFLAGS = -module -avoid-version -shared
plugins_scale_target_scale_target_la_LIBADD =
EXTRA_DIST += plugins/scale_target/README.md
