plugin_LTLIBRARIES += plugins/mock/mock.la
plugins_mock_mock_la_SOURCES = plugins/mock/mock.c plugins/mock/mock.h plugins/mock/journal.c plugins/mock/people.c \
	plugins/mock/script.c
plugins_mock_mock_la_CPPFLAGS = -I$(top_srcdir)/include -I$(top_srcdir)/plugins/mock -D_GNU_SOURCE
plugins_mock_mock_la_LDFLAGS = -module -avoid-version -shared
plugins_mock_mock_la_LIBADD =
EXTRA_DIST += plugins/mock/README.md
