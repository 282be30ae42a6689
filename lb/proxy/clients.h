/* clients: how many connections each client address has, over all workers, without a table that a client can
 * make grow.
 *
 * A count-min sketch: two rows of counters, an address adds to one in each, and the smaller of the two is its
 * count: never too low, too high only when both are shared with others (with 10,000 connections about one
 * address in a thousand is over-estimated by one). An IPv6 client is its /64. Touched when a connection opens
 * and closes, never by a request. Made by the proxy; any worker. */
#ifndef COX_PROXY_CLIENTS_H
#define COX_PROXY_CLIENTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CLIENTS_ROWS    2
#define CLIENTS_COLUMNS 65536

struct clients {
    _Atomic uint32_t counts[CLIENTS_ROWS][CLIENTS_COLUMNS];
    uint64_t seed; /* so that nobody can choose whom to collide with */
};

/* NULL when memory is out. */
struct clients *clients_create(void) __attribute__((warn_unused_result));
/* Counts one more connection of this address (16 bytes, IPv4 as v4-mapped). False, and not counted, when it
 * has max. */
bool clients_enter(struct clients *c, const uint8_t ip[16], uint32_t max) __attribute__((warn_unused_result));
void clients_leave(struct clients *c, const uint8_t ip[16]);
/* Tells the same address apart by what it is counted for; the result is no address any more. */
void clients_key(const uint8_t ip[16], uint32_t what, uint8_t out_key[16]);
/* 127.0.0.0/8 and ::1. */
bool clients_is_loopback(const uint8_t ip[16]);

#endif
