plugin_LTLIBRARIES += plugins/mock_count/mock_count.la
plugins_mock_count_mock_count_la_SOURCES = plugins/mock/mock.c plugins/mock/mock.h plugins/mock/counts.c plugins/mock/journal.c \
	plugins/mock/people.c plugins/mock/script.c
plugins_mock_count_mock_count_la_CPPFLAGS = -I$(top_srcdir)/include -I$(top_srcdir)/plugins/mock -D_GNU_SOURCE -DMOCK_COUNTS
plugins_mock_count_mock_count_la_LDFLAGS = -module -avoid-version -shared
plugins_mock_count_mock_count_la_LIBADD =
EXTRA_DIST += plugins/mock_count/README.md
