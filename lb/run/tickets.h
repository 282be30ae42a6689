/* tickets: the keys that session tickets of TLS are sealed with. Made and rotated by the master, the same in
 * all workers and generations, so that a client comes back to any of them; never on a disk, never in shared
 * memory that others map. Plain bytes: the one who uses them is lb/net. */
#ifndef COX_RUN_TICKETS_H
#define COX_RUN_TICKETS_H

#define TICKET_KEY_BYTES 80 /* name 16, AES-256 key 32, HMAC key 32 */

/* Tickets are made with `current` and taken with any: with `previous` for one rotation more, with `next`
 * because not everybody learns of a rotation at the same moment. */
enum ticket_key { TICKET_PREVIOUS, TICKET_CURRENT, TICKET_NEXT, TICKET_KEYS };

struct ticket_keys {
    unsigned char key[TICKET_KEYS][TICKET_KEY_BYTES];
};

#endif
