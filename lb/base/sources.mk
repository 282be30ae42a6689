lb_base_sources = lb/base/arena.c lb/base/arena.h lb/base/buf.c lb/base/buf.h lb/base/cidr.c lb/base/cidr.h \
	lb/base/clock.h lb/base/hex.h lb/base/ledger.c lb/base/ledger.h lb/base/ledger_past.c lb/base/ledger_hist.c lb/base/ledger_reasons.c lb/base/limit.c lb/base/limit.h lb/base/list.h \
	lb/base/log.c lb/base/log.h lb/base/panic.c lb/base/panic.h lb/base/paths.c lb/base/paths.h lb/base/pool.c lb/base/pool.h lb/base/quota.h lb/base/reason.c \
	lb/base/reason.h lb/base/str.c lb/base/str.h lb/base/text.c lb/base/text.h \
	lb/base/memory.c lb/base/memory.h lb/base/syslog.c lb/base/syslog.h
