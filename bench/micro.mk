bench_programs += bench/micro/micro
bench_micro_micro_SOURCES = bench/micro/micro.c bench/micro/decide.c bench/micro/decide.h
