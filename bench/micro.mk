bench_programs += bench/micro/micro
bench_micro_micro_SOURCES = bench/micro/micro.c bench/micro/decide.c bench/micro/decide.h
bench_programs += bench/micro/handshake
bench_micro_handshake_SOURCES = bench/micro/handshake.c
bench_micro_handshake_LDADD = $(OPENSSL_LIBS)
bench_programs += bench/micro/scaling
bench_micro_scaling_SOURCES = bench/micro/scaling.c
