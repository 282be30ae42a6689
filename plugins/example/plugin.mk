plugin_LTLIBRARIES += plugins/example/example.la
plugins_example_example_la_SOURCES = plugins/example/example.c
plugins_example_example_la_CPPFLAGS = -I$(top_srcdir)/include -D_GNU_SOURCE
plugins_example_example_la_CFLAGS = $(AM_CFLAGS) -ffp-contract=off
plugins_example_example_la_LDFLAGS = -module -avoid-version -shared
plugins_example_example_la_LIBADD =
EXTRA_DIST += plugins/example/README.md
