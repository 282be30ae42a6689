# The two ends of the bench (load, origin), the floors it is held against (relay, once, fcgi), and what keeps the core busy.
bench_programs += bench/load/load bench/load/origin bench/load/relay bench/load/once bench/load/fcgi bench/load/squeeze
bench_load_load_SOURCES = bench/load/load.c bench/load/answer.c bench/load/answer.h bench/load/times.h
bench_load_load_LDADD = liblb.a
bench_load_origin_SOURCES = bench/load/origin.c
bench_load_origin_LDADD =
bench_load_relay_SOURCES = bench/load/relay.c
bench_load_relay_LDADD =
bench_load_once_SOURCES = bench/load/once.c
bench_load_once_LDADD =
bench_load_fcgi_SOURCES = bench/load/fcgi.c
bench_load_fcgi_LDADD =
bench_load_squeeze_SOURCES = bench/load/squeeze.c
bench_load_squeeze_LDADD =
# Of the cases with TLS and HTTP/2.
bench_programs += bench/load/tls bench/load/echo bench/load/shake
bench_load_tls_SOURCES = bench/load/tls.c bench/load/answer.c bench/load/answer.h bench/load/h2_once.h bench/load/times.h
bench_load_tls_LDADD = $(OPENSSL_LIBS)
bench_load_shake_SOURCES = bench/load/shake.c
bench_load_shake_LDADD = $(OPENSSL_LIBS)
bench_load_echo_SOURCES = bench/load/echo.c
bench_load_echo_LDADD = $(NGHTTP2_LIBS)
# Of the held case.
bench_programs += bench/load/newborn
bench_load_newborn_SOURCES = bench/load/newborn.c
bench_load_newborn_LDADD = liblb.a
# Of the scale and two-workers cases.
bench_programs += bench/load/flip bench/load/rows
bench_load_flip_SOURCES = bench/load/flip.c bench/load/times.h
bench_load_flip_LDADD = liblb.a
bench_load_rows_SOURCES = bench/load/rows.c
bench_modules += bench/scale/benchflip.la
bench_scale_benchflip_la_SOURCES = bench/scale/flip_plugin.c
bench_scale_benchflip_la_CPPFLAGS = -I$(top_srcdir)/include -D_GNU_SOURCE
bench_scale_benchflip_la_LDFLAGS = -module -avoid-version -shared -rpath $(abs_builddir)/bench/scale
bench_scale_benchflip_la_LIBADD =
