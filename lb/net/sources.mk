lb_net_sources = lb/net/addr.c lb/net/addr.h lb/net/conn.c lb/net/conn.h lb/net/mac.c lb/net/mac.h lb/net/sink.c lb/net/sink.h \
	lb/net/proxyproto.c lb/net/proxyproto.h lb/net/proxyproto_wire.h lb/net/proxyproto_write.c
