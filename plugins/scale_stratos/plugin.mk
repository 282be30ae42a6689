plugin_LTLIBRARIES += plugins/scale_stratos/scale_stratos.la
plugins_scale_stratos_scale_stratos_la_SOURCES = plugins/scale_stratos/scale_stratos.c \
	plugins/scale_stratos/as_coded.c plugins/scale_stratos/as_coded.h plugins/common/pure.h plugins/common/say.h
plugins_scale_stratos_scale_stratos_la_CPPFLAGS = -I$(top_srcdir)/include -D_GNU_SOURCE
plugins_scale_stratos_scale_stratos_la_CFLAGS = $(AM_CFLAGS) -ffp-contract=off
plugins_scale_stratos_scale_stratos_la_LDFLAGS = -module -avoid-version -shared
plugins_scale_stratos_scale_stratos_la_LIBADD =
EXTRA_DIST += plugins/scale_stratos/README.md
