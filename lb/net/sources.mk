lb_net_sources = lb/net/tls_link.c lb/net/tls_link.h \
	lb/net/tls_identity.c lb/net/tls_ticket.c \
	lb/net/addr.c lb/net/addr.h lb/net/conduit.c lb/net/conduit.h lb/net/conn.c lb/net/conn.h lb/net/mac.c lb/net/mac.h lb/net/sink.c lb/net/sink.h \
	lb/net/proxyproto.c lb/net/proxyproto.h lb/net/proxyproto_wire.h lb/net/proxyproto_write.c \
	lb/net/tls.h lb/net/tls_priv.h lb/net/tls_bio.c lb/net/tls_client.c lb/net/tls_conn.c lb/net/tls_handshake.c \
	lb/net/tls_pem.c lb/net/tls_server.c lb/net/tls_site.c lb/net/tls_store.c \
	lb/net/tls_compact.c lb/net/tls_rest.c lb/net/tls_schedule.c lb/net/tls_schedule.h lb/net/tls_record.c lb/net/tls_record.h \
	lb/net/tls_facts.c lb/net/tls_facts.h
