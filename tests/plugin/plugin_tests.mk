# Plugins that are wrong in one way each, made of one source, and the tests that load them. -rpath makes libtool build
# shared objects although they are never installed.
bad_plugin_flags = -I$(top_srcdir)/include
bad_plugin_ldflags = -module -avoid-version -shared -rpath $(abs_builddir)/tests/plugin

check_LTLIBRARIES += tests/plugin/bad_good.la
tests_plugin_bad_good_la_SOURCES = tests/plugin/bad.c
tests_plugin_bad_good_la_CPPFLAGS = $(bad_plugin_flags) -DBAD_KIND=0 -DBAD_NAME='"bad_good"'
tests_plugin_bad_good_la_LDFLAGS = $(bad_plugin_ldflags)
tests_plugin_bad_good_la_LIBADD =

check_LTLIBRARIES += tests/plugin/bad_symbol.la
tests_plugin_bad_symbol_la_SOURCES = tests/plugin/bad.c
tests_plugin_bad_symbol_la_CPPFLAGS = $(bad_plugin_flags) -DBAD_KIND=1 -DBAD_NAME='"bad_symbol"'
tests_plugin_bad_symbol_la_LDFLAGS = $(bad_plugin_ldflags)
tests_plugin_bad_symbol_la_LIBADD =

check_LTLIBRARIES += tests/plugin/bad_abi.la
tests_plugin_bad_abi_la_SOURCES = tests/plugin/bad.c
tests_plugin_bad_abi_la_CPPFLAGS = $(bad_plugin_flags) -DBAD_KIND=2 -DBAD_NAME='"bad_abi"'
tests_plugin_bad_abi_la_LDFLAGS = $(bad_plugin_ldflags)
tests_plugin_bad_abi_la_LIBADD =

check_LTLIBRARIES += tests/plugin/bad_short.la
tests_plugin_bad_short_la_SOURCES = tests/plugin/bad.c
tests_plugin_bad_short_la_CPPFLAGS = $(bad_plugin_flags) -DBAD_KIND=3 -DBAD_NAME='"bad_short"'
tests_plugin_bad_short_la_LDFLAGS = $(bad_plugin_ldflags)
tests_plugin_bad_short_la_LIBADD =

check_LTLIBRARIES += tests/plugin/bad_name.la
tests_plugin_bad_name_la_SOURCES = tests/plugin/bad.c
tests_plugin_bad_name_la_CPPFLAGS = $(bad_plugin_flags) -DBAD_KIND=4 -DBAD_NAME='"bad_name"'
tests_plugin_bad_name_la_LDFLAGS = $(bad_plugin_ldflags)
tests_plugin_bad_name_la_LIBADD =

check_LTLIBRARIES += tests/plugin/bad_open.la
tests_plugin_bad_open_la_SOURCES = tests/plugin/bad.c
tests_plugin_bad_open_la_CPPFLAGS = $(bad_plugin_flags) -DBAD_KIND=5 -DBAD_NAME='"bad_open"'
tests_plugin_bad_open_la_LDFLAGS = $(bad_plugin_ldflags)
tests_plugin_bad_open_la_LIBADD =

check_LTLIBRARIES += tests/plugin/bad_stall.la
tests_plugin_bad_stall_la_SOURCES = tests/plugin/bad.c
tests_plugin_bad_stall_la_CPPFLAGS = $(bad_plugin_flags) -DBAD_KIND=6 -DBAD_NAME='"bad_stall"'
tests_plugin_bad_stall_la_LDFLAGS = $(bad_plugin_ldflags)
tests_plugin_bad_stall_la_LIBADD =

check_LTLIBRARIES += tests/plugin/bad_role.la
tests_plugin_bad_role_la_SOURCES = tests/plugin/bad.c
tests_plugin_bad_role_la_CPPFLAGS = $(bad_plugin_flags) -DBAD_KIND=7 -DBAD_NAME='"bad_role"'
tests_plugin_bad_role_la_LDFLAGS = $(bad_plugin_ldflags)
tests_plugin_bad_role_la_LIBADD =

check_LTLIBRARIES += tests/plugin/bad_schema.la
tests_plugin_bad_schema_la_SOURCES = tests/plugin/bad.c
tests_plugin_bad_schema_la_CPPFLAGS = $(bad_plugin_flags) -DBAD_KIND=8 -DBAD_NAME='"bad_schema"'
tests_plugin_bad_schema_la_LDFLAGS = $(bad_plugin_ldflags)
tests_plugin_bad_schema_la_LIBADD =

check_LTLIBRARIES += tests/plugin/bad_leftover.la
tests_plugin_bad_leftover_la_SOURCES = tests/plugin/bad.c
tests_plugin_bad_leftover_la_CPPFLAGS = $(bad_plugin_flags) -DBAD_KIND=9 -DBAD_NAME='"bad_leftover"'
tests_plugin_bad_leftover_la_LDFLAGS = $(bad_plugin_ldflags)
tests_plugin_bad_leftover_la_LIBADD =
check_LTLIBRARIES += tests/plugin/bad_crash.la
tests_plugin_bad_crash_la_SOURCES = tests/plugin/bad.c
tests_plugin_bad_crash_la_CPPFLAGS = $(bad_plugin_flags) -DBAD_KIND=10 -DBAD_NAME='"bad_crash"'
tests_plugin_bad_crash_la_LDFLAGS = $(bad_plugin_ldflags)
tests_plugin_bad_crash_la_LIBADD =

check_LTLIBRARIES += tests/plugin/bad_leak.la
tests_plugin_bad_leak_la_SOURCES = tests/plugin/bad.c
tests_plugin_bad_leak_la_CPPFLAGS = $(bad_plugin_flags) -DBAD_KIND=11 -DBAD_NAME='"bad_leak"'
tests_plugin_bad_leak_la_LDFLAGS = $(bad_plugin_ldflags)
tests_plugin_bad_leak_la_LIBADD =


plugin_tests += tests/plugin/test_loader
tests_plugin_test_loader_SOURCES = tests/plugin/test_loader.c tests/plugin/support.h
plugin_tests += tests/plugin/test_host
tests_plugin_test_host_SOURCES = tests/plugin/test_host.c tests/plugin/support.h
plugin_tests += tests/plugin/test_process
tests_plugin_test_process_SOURCES = tests/plugin/test_process.c tests/plugin/support.h
plugin_tests += tests/plugin/test_file
tests_plugin_test_file_SOURCES = tests/plugin/test_file.c tests/plugin/support.h
plugin_tests += tests/plugin/test_example
tests_plugin_test_example_SOURCES = tests/plugin/test_example.c tests/plugin/support.h
plugin_tests += tests/plugin/test_scale_target
tests_plugin_test_scale_target_SOURCES = tests/plugin/test_scale_target.c tests/plugin/scaling.h tests/plugin/support.h
plugin_tests += tests/plugin/test_scale_predict
tests_plugin_test_scale_predict_SOURCES = tests/plugin/test_scale_predict.c tests/plugin/support.h
plugin_tests += tests/plugin/test_mock
tests_plugin_test_mock_SOURCES = tests/plugin/test_mock.c tests/plugin/support.h
plugin_tests += tests/plugin/test_scale_stratos
tests_plugin_test_scale_stratos_SOURCES = tests/plugin/test_scale_stratos.c tests/plugin/scaling.h tests/plugin/support.h \
	plugins/scale_stratos/as_coded.c
