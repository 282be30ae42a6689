lb_master_sources = lb/master/admin_token.c lb/master/admin_token.h lb/master/arguments.c lb/master/arguments.h \
	lb/master/backoff.c lb/master/backoff.h lb/master/check.c lb/master/check.h lb/master/child.c \
	lb/master/child.h lb/master/control.c lb/master/control.h lb/master/control_status.c lb/master/crash.c \
	lb/master/crash.h lb/master/daemon.c lb/master/daemon.h lb/master/generation.c lb/master/generation.h \
	lb/master/launch.c lb/master/launch.h lb/master/listeners.c lb/master/listeners.h lb/master/logs.c \
	lb/master/logs.h lb/master/master.c lb/master/master.h lb/master/member_spawn.c lb/master/member_spawn.h \
	lb/master/member_vars.c lb/master/members.c lb/master/members.h lb/master/orchestrator.c \
	lb/master/orchestrator.h lb/master/privileges.c lb/master/privileges.h lb/master/processors.c \
	lb/master/processors.h lb/master/published.c lb/master/published.h \
	lb/master/reload.c lb/master/reload.h lb/master/stalls.c lb/master/stalls.h lb/master/sd_notify.c lb/master/sd_notify.h \
	lb/master/state.c lb/master/state.h lb/master/stop.c lb/master/stop.h lb/master/tls_files.c lb/master/tls_files.h lb/master/upgrade.c lb/master/upgrade.h \
	lb/master/watchdog.c lb/master/watchdog.h
coxswain_main = lb/master/main.c
