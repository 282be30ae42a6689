/* members_part: the inside of members, shared by members*.c and nobody else.
 *
 *   members.c        states, birth and death, what actuators and probes say
 *   members_sets.c   the sets of the config, and finding things
 *   members_place.c  which place the next member goes to, and which one loses one
 *   members_keep.c   keeping sets at their count, by the clock
 *   members_left.c   what is left of an earlier config
 *   members_facts.c  the seam to what decides the count
 *   members_number.c platforms that are told a number, and name members themselves */
#ifndef COX_ORCH_MEMBERS_PART_H
#define COX_ORCH_MEMBERS_PART_H

#include "orch/members.h"

/* Reasons that mean something to a later run: they are in the topology. */
#define MEMBERS_BY_HAND "drain asked for"
#define MEMBERS_FAULTY  "its probe has failed for too long"

/* The beginning of the reason; behind it what the platform said. */
#define MEMBERS_LEAVING "its platform stops it"

/* Of the last member of a set while it is closed: it may stay when it is wanted again, or it may not. */
#define MEMBERS_CLOSING          "the last one is drained; what comes now waits"
#define MEMBERS_CLOSING_FOR_GOOD "the last one is drained for good; what comes now waits"

/* Of members in a spot that is not, or not for so many, of the policy. */
#define MEMBERS_STRAYED "its place is not of the policy any more"

/* ---- members.c ---- */

/* The one writer of a member's state. */
void member_set_state(struct members *ms, struct member *m, enum member_state state, const char *reason);
void member_set_ticket(struct members *ms, struct member *m, uint64_t ticket);
struct member *member_by_ticket(struct members *ms, uint64_t ticket);
/* In spot `spot` of the set. */
struct member *member_create(struct members *ms, struct member_set *set, uint32_t spot, const char *id);
void member_free(struct members *ms, struct member *m);
/* It is no more; frees it. */
void member_gone(struct members *ms, struct member *m, const char *reason);
/* It never came up, or the actuator could not: stop it, and try another after a while. */
void member_give_up(struct members *ms, struct member *m, const char *reason);
/* The actuator may answer, and so end the member, before it returns. */
void member_ask_stop(struct members *ms, struct member *m, bool is_drained);
void member_begin_drain(struct members *ms, struct member *m, const char *reason);
/* A draining endpoint still gets requests when there is no other. The last one is closed first: what comes
 * from then on waits for its successor, and it is stopped once every proxy knows, and nothing is in flight.
 */
void member_close(struct members *ms, struct member *m);
/* A member that the set's count is made of. */
bool member_counts(const struct member *m);
/* One of an earlier run that nobody knows any more: its endpoints go. set NULL: in no config. */
void member_forget(struct members *ms, const struct member_set *set, struct str set_id, struct str id);
void members_touch(struct members *ms);
/* The set is looked at by the next members_tick. */
void members_wake(struct members *ms, struct member_set *set);

/* ---- members_sets.c ---- */

struct member_set *set_create(struct members *ms, const char *id, const char *application, const char *alias);
void set_free(struct member_set *set);
/* name and options are borrowed from settings. */
void set_add_port(struct member_set *set, const char *name, struct str cluster,
                  const struct cluster_options *options);
bool members_has_listed(const struct members *ms, const char *actuator);

/* ---- members_place.c ---- */

void places_fini(struct members *ms);
/* The spots of a set by its policy; policy NULL: one, the actuator as a whole. */
void spots_make(struct members *ms, struct member_set *set, const struct settings *s, const char *actuator,
                const char *policy);
void spots_free(struct member_set *set);
/* Where a member that its actuator tells of is: a new, stray spot when the policy has none like it, or not
 * for so many. */
uint32_t spot_adopt(struct members *ms, struct member_set *set, const char *actuator, const char *partition);
/* Index of the spot for the next member; UINT32_MAX: no place has room. */
uint32_t spot_with_room(const struct member_set *set, uint64_t now);
/* Index of the spot whose active members leave first; UINT32_MAX: none has any. */
uint32_t spot_to_shrink(const struct member_set *set);
/* How many of those that start are not to come any more in each spot, when so many are to go; fewer when
 * fewer start. */
void spots_to_stop(struct member_set *set, uint32_t count, uint32_t *out_by_spot);
/* When a place that is full by its actuator's word is asked again, the earliest of the set's; UINT64_MAX:
 * none is. */
uint64_t spots_retry_ns(const struct member_set *set, uint64_t now);
/* Members that this spot may have, by all that is known; UINT32_MAX: nobody said. */
uint32_t spot_capacity(const struct spot *spot, uint64_t now);
/* The same by the config alone: when its place has room and nobody else is there. */
uint32_t spot_limit(const struct spot *spot);
/* Its actuator has no room at the moment. */
void place_is_full(struct place *p, uint64_t now);
/* A start worked there. */
void place_took_one(struct place *p);
/* A member left: sets that wait for room are looked at again. */
void place_lost_one(struct members *ms, struct place *p);

/* ---- members_left.c ---- */

/* A set that is in no config, for members that live still. */
struct member_set *left_create(struct members *ms, const char *id);
/* After an adoption: addresses that its actuator did not tell are those of the last topology, and what it
 * served where there is no cluster any more is waited for. */
void left_recall(struct members *ms, struct member *m);
/* Requests may be in flight at it in clusters that the config has no more. */
bool left_in_flight(struct members *ms, const struct member *m);

/* ---- members_number.c ---- */

struct cox_member_change;
void member_take_name(struct members *ms, struct member *m, const char *id);
struct member *member_find_nameless(struct members *ms, const char *actuator,
                                    const struct cox_member_change *change);
struct member *member_find_ended(struct members *ms, const char *actuator,
                                 const struct cox_member_change *change);
/* m, which was to stay, ends or is going to: is one that was to go there still, and stays for it? */
void member_spare_another(struct members *ms, struct member *m);

/* ---- members_facts.c ---- */

/* Takes a member out of the counts of its set and spot, and puts it in by its state. */
void member_uncount(struct members *ms, struct member *m);
void member_count(struct members *ms, struct member *m);
void set_learn(struct member_set *set, uint64_t start_ns);

#endif
