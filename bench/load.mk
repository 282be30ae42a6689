# The two ends of the throughput bench: a server that costs next to nothing and the blind relay that sets the floor.
bench_programs += bench/load/origin bench/load/relay
bench_load_origin_SOURCES = bench/load/origin.c
bench_load_origin_LDADD =
bench_load_relay_SOURCES = bench/load/relay.c
bench_load_relay_LDADD =
