lb_run_sources = lb/run/bundle.c lb/run/bundle.h lb/run/channel.c lb/run/channel.h lb/run/deadline.c lb/run/deadline.h lb/run/loop.c lb/run/loop.h \
	lb/run/mailbox.c lb/run/mailbox.h lb/run/pack.c lb/run/prompt.c lb/run/prompt.h lb/run/role.h lb/run/sealed.c lb/run/tickets.h lb/run/stall.c lb/run/stall.h lb/run/worker.c lb/run/worker.h \
	lb/run/wake.c lb/run/wake.h
