fuzz_targets += tests/fuzz/fuzz_proxyproto
tests_fuzz_fuzz_proxyproto_SOURCES = tests/fuzz/fuzz_proxyproto.c
fuzz_targets += tests/fuzz/fuzz_connection
tests_fuzz_fuzz_connection_SOURCES = tests/fuzz/fuzz_connection.c tests/fuzz/strict.h
fuzz_targets += tests/fuzz/fuzz_forwarded
tests_fuzz_fuzz_forwarded_SOURCES = tests/fuzz/fuzz_forwarded.c tests/fuzz/heads.h
fuzz_targets += tests/fuzz/fuzz_cookie
tests_fuzz_fuzz_cookie_SOURCES = tests/fuzz/fuzz_cookie.c tests/fuzz/heads.h

# Not fuzz targets: what tests/fuzz/differential.py compares.
check_PROGRAMS += tests/fuzz/differential/h1_dump
tests_fuzz_differential_h1_dump_SOURCES = tests/fuzz/differential/h1_dump.c tests/fuzz/differential/dump.h
tests_fuzz_differential_h1_dump_LDADD = liblb.a $(lb_libs)
if HAVE_HTTP_PARSER
check_PROGRAMS += tests/fuzz/differential/http_parser_dump
tests_fuzz_differential_http_parser_dump_SOURCES = tests/fuzz/differential/http_parser_dump.c tests/fuzz/differential/dump.h
tests_fuzz_differential_http_parser_dump_LDADD = -lhttp_parser
endif
