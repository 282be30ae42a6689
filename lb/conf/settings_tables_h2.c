/* The table of HTTP/2 on a listener: every number that a client could make grow. */
#include "conf/settings_rows.h"

#define H(member) offsetof(struct h2_settings, member)
static const struct option h2_rows[] = {
    ROW_BOOL("prior_knowledge", H(prior_knowledge), "true",
             "Without TLS: take a connection that begins with the HTTP/2 preface as HTTP/2 (RFC 9113 3.3). There is no "
             "upgrade from HTTP/1: it is deprecated and has been a way around access rules."),
    ROW_BOOL("websocket", H(websocket), "true",
             "Offer extended CONNECT (RFC 8441), so that WebSocket works over HTTP/2; servers of HTTP/1 see an "
             "Upgrade. What a cluster says about upgrade holds for it."),
    ROW_INT("max_streams", H(max_streams), "100", 1, 10000,
            "Requests that one connection may have open at a time. RFC 9113 asks for no less than 100; browsers use "
            "as many."),
    ROW_SIZE("stream_window", H(stream_window_bytes), "64k", 1024, MIB(1024),
             "Bytes of one request body that may be on their way to us or wait here for a slow server."),
    ROW_SIZE("connection_window", H(connection_window_bytes), "512k", 65535, MIB(1024),
             "The same for all bodies of one connection together. A stream whose server is slow stops itself alone "
             "as long as no more than this waits. What does not fit into max_memory waits in temporary files."),
    ROW_INT("max_resets", H(max_resets), "200", 1, 1000000,
            "Streams that a client may reset, or make us reset by its faults, at once; every stream that ends well "
            "gives one back. Then the connection ends with ENHANCE_YOUR_CALM. A browser that leaves a page resets as "
            "many as it has open; rapid reset and its kin need thousands."),
    ROW_INT("reset_rate", H(reset_rate), "20", 0, 1000000, "How many of max_resets come back each second."),
    ROW_INT("max_control", H(max_control), "1000", 10, 1000000,
            "Frames that carry nothing (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA) a client may send at "
            "once; frames with payload, either way, give some back. Then ENHANCE_YOUR_CALM."),
    ROW_INT("control_rate", H(control_rate), "100", 0, 1000000, "How many of max_control come back each second."),
    ROW_INT("max_continuations", H(max_continuations), "8", 0, 1000,
            "CONTINUATION frames of one header section. max_header_size fits into very few; floods of small ones cost "
            "time and never end."),
    ROW_INT("max_queued_frames", H(max_queued_frames), "1000", 16, 100000,
            "Acknowledgements, resets and heads that may wait for a client that does not read."),
    ROW_SIZE("max_memory", H(max_memory_bytes), "576k", KIB(64), MIB(1024),
             "Bytes of memory that all requests of one connection may take together. Three quarters are for the requests, 3.5k "
             "each and what of their heads and trailers does not fit into that: above it further ones are refused "
             "(REFUSED_STREAM: they may be sent again). A hundred with heads of 1k find room, and never fewer than "
             "max_streams with less. Bodies have a sixteenth and what is left of these: above it what has to wait does so in temporary "
             "files, and is not kept for a second attempt. Answers that wait have the rest, and a sixteenth in any case: above it "
             "they stay with their servers. A client with 16 requests or more whose socket takes nothing is not read until it "
             "does."),
    ROW_SIZE("min_rate", H(min_rate), "500", 0, MIB(1024),
             "Bytes a second of each answer that a client must make room for, looked at every client_write_timeout; "
             "0: one byte will do. Windows of a few bytes keep answers, and their servers, waiting for ever."),
};
const struct option_table h2_table = {
    .name = "h2",
    .help = "HTTP/2 with the clients of a listener.",
    ROWS(h2_rows),
    .struct_size = sizeof(struct h2_settings),
};
