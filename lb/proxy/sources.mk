lb_proxy_sources = lb/proxy/accept.c lb/proxy/access.c lb/proxy/access_syslog.c lb/proxy/access_syslog.h lb/proxy/access_format.c lb/proxy/access_format.h lb/proxy/affinity.c lb/proxy/affinity.h lb/proxy/back_fcgi.c lb/proxy/back_files.c lb/proxy/back_h1.c \
	lb/proxy/match.c lb/proxy/match.h lb/proxy/change.c lb/proxy/change_back.c lb/proxy/change.h lb/proxy/routing.c lb/proxy/routing.h \
	lb/proxy/mirror.c lb/proxy/mirror.h \
	lb/proxy/choose.c lb/proxy/compress.c lb/proxy/compress.h lb/proxy/choose.h lb/proxy/clients.c lb/proxy/clients.h lb/proxy/exchange.c lb/proxy/exchange.h lb/proxy/exchange_body.c lb/proxy/exchange_end.c \
	lb/proxy/exchange_priv.h lb/proxy/fcgi_params.c lb/proxy/fcgi_send.c lb/proxy/fcgi_send.h lb/proxy/fcgi_params.h lb/proxy/files.h \
	lb/proxy/files_answer.h lb/proxy/files_find.c lb/proxy/files_types.h lb/proxy/files_open.c lb/proxy/files_open.h lb/proxy/files_range.c lb/proxy/files_range.h \
	lb/proxy/back_h2.c lb/proxy/back_h2.h lb/proxy/back_h2_link.c lb/proxy/back_h2_pool.c \
	lb/proxy/back_h2_tunnel.c lb/proxy/back_h2_tunnel.h lb/proxy/reply_grpc.c lb/proxy/reply_grpc.h \
	lb/proxy/files_types.c lb/proxy/front_h1.c lb/proxy/front_h1_read.c \
	lb/proxy/guard.c lb/proxy/guard.h lb/proxy/guard_basic.c lb/proxy/guard_external.c lb/proxy/hasher.c lb/proxy/hasher.h \
	lb/proxy/verified.c lb/proxy/verified.h lb/proxy/hold.c lb/proxy/hold.h lb/proxy/pipe.c lb/proxy/pipe.h \
	lb/proxy/proxy.c lb/proxy/proxy.h lb/proxy/proxy_topology.c lb/proxy/pworker.c lb/proxy/reply.c lb/proxy/reply.h \
	lb/proxy/rewrite.c lb/proxy/rewrite.h lb/proxy/secure.c lb/proxy/secure.h lb/proxy/secure_client.c lb/proxy/session.c lb/proxy/session.h lb/proxy/uplink.c \
	lb/proxy/uplink.h lb/proxy/uplink_pool.c lb/proxy/view.c \
	lb/proxy/intro.c lb/proxy/intro.h lb/proxy/send_proxy.c lb/proxy/send_proxy.h \
	lb/proxy/resting.c lb/proxy/resting.h lb/proxy/wakes.c lb/proxy/wakes.h lb/proxy/wave.c lb/proxy/wave.h
lb_proxy_sources += lb/proxy/front_h2.c lb/proxy/front_h2.h lb/proxy/front_h2_direct.c lb/proxy/front_h2_priv.h lb/proxy/front_h2_read.c lb/proxy/front_h2_session.c
lb_proxy_sources += lb/proxy/berth.c lb/proxy/berth.h
lb_proxy_sources += lb/proxy/patience.c lb/proxy/patience.h
