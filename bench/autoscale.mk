# The simulator of scaling policies: see bench/autoscale/README.md.
autoscale_sources = \
	bench/autoscale/baselines.c bench/autoscale/engine_exact.c bench/autoscale/engine_sum.c \
	bench/autoscale/fleet.c bench/autoscale/fleet.h bench/autoscale/load.c bench/autoscale/load.h \
	bench/autoscale/optimum.c bench/autoscale/optimum.h bench/autoscale/policy.c bench/autoscale/policy.h \
	bench/autoscale/queueing.c bench/autoscale/queueing.h bench/autoscale/random.h bench/autoscale/run.c \
	bench/autoscale/run.h
bench_programs += bench/autoscale/autoscale
bench_autoscale_autoscale_SOURCES = bench/autoscale/autoscale.c $(autoscale_sources)
