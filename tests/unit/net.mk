unit_tests += tests/unit/net/test_conn
tests_unit_net_test_conn_SOURCES = tests/unit/net/test_conn.c tests/unit/net/support.h
unit_tests += tests/unit/net/test_sink
tests_unit_net_test_sink_SOURCES = tests/unit/net/test_sink.c tests/unit/net/support.h
unit_tests += tests/unit/net/test_proxyproto
tests_unit_net_test_proxyproto_SOURCES = tests/unit/net/test_proxyproto.c
unit_tests += tests/unit/net/test_tls
tests_unit_net_test_tls_SOURCES = tests/unit/net/test_tls.c tests/unit/net/support.h tests/tls_files.h
