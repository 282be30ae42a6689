plugin_LTLIBRARIES += plugins/file/file.la
plugins_file_file_la_SOURCES = plugins/file/file.c plugins/common/doc.c plugins/common/doc.h
plugins_file_file_la_CPPFLAGS = -I$(top_srcdir)/include -I$(top_srcdir)/plugins -D_GNU_SOURCE
plugins_file_file_la_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(LIBCONFIG_CFLAGS)
plugins_file_file_la_LDFLAGS = -module -avoid-version -shared
plugins_file_file_la_LIBADD = $(JANSSON_LIBS) $(LIBCONFIG_LIBS)
EXTRA_DIST += plugins/file/README.md
