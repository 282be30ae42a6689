lb_http_sources = \
	lb/http/basic.c lb/http/basic.h \
	lb/http/cgi.c lb/http/cgi.h \
	lb/http/coding.c lb/http/coding.h lb/http/gzip.c lb/http/gzip.h \
	lb/http/fcgi_codec.c lb/http/fcgi_codec.h \
	lb/http/field_table.h lb/http/fields.c lb/http/fields.h \
	lb/http/forwarded.c lb/http/forwarded.h \
	lb/http/h1_body.c lb/http/h1_body.h \
	lb/http/h1_check.c lb/http/h1_check.h \
	lb/http/h1_parse.c lb/http/h1_parse.h \
	lb/http/h1_write.c lb/http/h1_write.h \
	lb/http/h2_client.c lb/http/h2_client.h lb/http/h2_client_priv.h lb/http/h2_client_recv.c \
	lb/http/h2_budget.h lb/http/h2_guard.c lb/http/h2_guard.h lb/http/h2_head.c lb/http/h2_head.h lb/http/h2_nv.c lb/http/h2_nv.h lb/http/h2_mem.c lb/http/h2_mem.h lb/http/h2_mem_priv.h \
	lb/http/h2_server.c lb/http/h2_server.h lb/http/h2_server_priv.h lb/http/h2_server_send.c \
	lb/http/message.c lb/http/message.h \
	lb/http/rules.c lb/http/rules.h lb/http/rules_path.c \
	lb/http/scan.c lb/http/scan.h \
	lb/http/trace.c lb/http/trace.h \
	lb/http/uri.c lb/http/uri.h \
	lb/http/websocket.c lb/http/websocket.h \
	lb/http/word.h
