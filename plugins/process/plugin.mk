plugin_LTLIBRARIES += plugins/process/process.la
plugins_process_process_la_SOURCES = plugins/process/process.c plugins/process/process.h plugins/process/reports.c \
	plugins/process/usage.c plugins/process/usage.h
plugins_process_process_la_CPPFLAGS = -I$(top_srcdir)/include -I$(top_srcdir)/plugins/process -D_GNU_SOURCE
plugins_process_process_la_LDFLAGS = -module -avoid-version -shared
plugins_process_process_la_LIBADD =
EXTRA_DIST += plugins/process/README.md
