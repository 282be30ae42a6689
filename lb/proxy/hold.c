#include "proxy/hold.h"

#include <stdlib.h>

#include "proxy/berth.h"
#include "proxy/choose.h"
#include "proxy/exchange_priv.h"
#include "proxy/proxy.h"
#include "proxy/routing.h"
#include "proxy/wave.h"

#define LOOK_MS 50 /* for what another generation frees */

static struct hold_room *room_of(struct pworker *pw, uint32_t slot)
{
    struct hold_room *room = &pw->hold_rooms[slot];
    if (!room->waiting.next) {
        list_init(&room->waiting);
        list_init(&room->node);
        list_init(&room->due);
        room->pw = pw;
    }
    return room;
}

static struct hold_place *first_of(const struct hold_room *room)
{
    return list_is_empty(&room->waiting) ? NULL : CONTAINER_OF(room->waiting.next, struct hold_place, node);
}

static void publish_oldest(struct hold_room *room)
{
    const struct hold_place *place = first_of(room);
    atomic_store_explicit(&room->oldest_ns, place ? place->held_ns : 0, memory_order_seq_cst);
}

/* ---- in and out ---- */

void hold_give_up(struct exchange *x)
{
    struct worker *w = &x->pw->w;
    ledger_cluster_failure(&x->pw->ledger, x->cluster->slot, LEDGER_FAIL_REFUSED);
    exchange_reply(x, REASON_HOLD_TIMEOUT);
    cork_flush(w);
}

static void on_timeout(struct deadline *d)
{
    hold_give_up(CONTAINER_OF(d, struct exchange, deadline));
}

void hold_set_deadline(struct exchange *x, uint64_t at_ms)
{
    deadline_init(&x->deadline, on_timeout);
    if (at_ms)
        deadline_set(&x->pw->w.wheel, &x->deadline, at_ms);
}

/* Its address, made one with the cluster. False: it has none that could be told from others', or one of our
 * own, behind which there may be many. */
static bool share_key(const struct listener_settings *l, struct str client, uint32_t slot, uint8_t key[16])
{
    uint8_t ip[16];
    if (!cidr_ip_parse(client, ip) || cidr_list_has(&l->trusted, ip) ||
        (!l->limit_loopback && clients_is_loopback(ip)))
        return false;
    clients_key(ip, slot, key);
    return true;
}

/* As many as are free, but one in any case: a room that is nearly full is not closed to newcomers. */
static bool enter_share(struct exchange *x, int64_t free_count)
{
    uint8_t key[16];
    if (!x->opt->hold_fair || !share_key(x->session->listener, x->client_ip, x->cluster->slot, key))
        return true;
    x->share_taken = clients_enter(x->pw->proxy->hold.clients, key, (uint32_t)free_count);
    return x->share_taken;
}

void hold_leave_share(struct pworker *pw, const struct listener_settings *l, struct str client, uint32_t slot)
{
    uint8_t key[16];
    if (share_key(l, client, slot, key))
        clients_leave(pw->proxy->hold.clients, key);
}

/* Never overshot: a place is taken before it is known to be there, and given back. */
static enum reason take_place(struct exchange *x)
{
    _Atomic uint32_t *n = &x->pw->proxy->hold.holding[x->cluster->slot];
    int64_t max = x->opt->hold_max, before = atomic_fetch_add_explicit(n, 1, memory_order_seq_cst);
    bool has_room = before < max, has_share = has_room && enter_share(x, max - before);
    if (has_share)
        return REASON_OK;
    atomic_fetch_sub_explicit(n, 1, memory_order_relaxed);
    return has_room ? REASON_HOLD_SHARE : REASON_HOLD_FULL;
}

void hold_drop(struct pworker *pw, struct hold_place *place, const struct cluster *c)
{
    struct hold_room *room = room_of(pw, c->slot);
    bool was_first = first_of(room) == place;
    list_remove(&place->node);
    pw->held_count--;
    if (atomic_fetch_sub_explicit(&pw->proxy->hold.holding[c->slot], 1, memory_order_relaxed) == 1)
        wave_end(pw, c);
    if (was_first)
        publish_oldest(room);
    if (list_is_empty(&room->waiting)) {
        list_remove(&room->node);
        room->wave_seen = 0; /* the next wave may begin as this one did */
    }
}

static void leave(struct exchange *x)
{
    hold_drop(x->pw, &x->place, x->cluster);
    berth_forget(x);
    if (x->share_taken)
        hold_leave_share(x->pw, x->session->listener, x->client_ip, x->cluster->slot);
    x->share_taken = false;
    deadline_stop(&x->pw->w.wheel, &x->deadline);
}

/* Is there room for one of those that wait? */
static bool may_have_room(struct pworker *pw, const struct cluster *c)
{
    return c->candidate_count && (wave_is_for(c) ? wave_has_place(pw, c) : choose_has_room(pw, c));
}

/* Other generations tell nobody here what they free, so it is looked for while they live. */
static void on_look(struct deadline *d)
{
    struct pworker *pw = CONTAINER_OF(d, struct pworker, hold_look);
    if (list_is_empty(&pw->rooms))
        return;
    if (places_are_shared(&pw->proxy->gates.places))
        worker_deadline(&pw->w, d, LOOK_MS);
    hold_release(pw);
}

enum reason hold_add(struct exchange *x)
{
    struct pworker *pw = x->pw;
    enum reason why = take_place(x);
    if (why != REASON_OK)
        return why;
    struct hold_room *room = room_of(pw, x->cluster->slot);
    x->place.held_ns = pw->w.now_ns & INT64_MAX;
    list_push(&room->waiting, &x->place.node);
    if (list_is_empty(&room->node))
        list_push(&pw->rooms, &room->node);
    if (first_of(room) == &x->place)
        publish_oldest(room);
    pw->held_count++;
    hold_set_deadline(x, pw->w.now_ms + x->opt->hold_timeout_ms);
    berth_consider(x);
    atomic_thread_fence(memory_order_seq_cst);
    if (may_have_room(pw, x->cluster))
        hold_freed(pw, x->cluster->slot); /* it came free while we came in */
    if (x->opt->max_in_flight && !pw->hold_look.at_ms && places_are_shared(&pw->proxy->gates.places))
        worker_deadline(&pw->w, &pw->hold_look, LOOK_MS);
    wakes_tell(x, x->cluster, x->cluster->candidate_count ? WAKE_SATURATED : WAKE_HELD);
    return REASON_OK;
}

void hold_remove(struct exchange *x)
{
    if (!list_is_empty(&x->place.node))
        leave(x);
}

bool hold_is_used(const struct exchange *x)
{
    return atomic_load_explicit(&x->pw->proxy->hold.holding[x->cluster->slot], memory_order_relaxed) != 0;
}

/* ---- letting them go on ---- */

/* The exchange moves to the current topology: its cluster may have other endpoints there. False: the cluster
 * is gone, and what the old view knows of it must not be used any more, for its slots may be given to others.
 */
static bool adopt_view(struct exchange *x)
{
    struct pworker *pw = x->pw;
    if (x->view == pw->view)
        return true;
    const struct cluster *found = topology_cluster(pw->view->topology, x->cluster->id);
    if (!found || found->slot != x->cluster->slot)
        return false;
    x->endpoint = NULL; /* of an attempt before; it goes with its view */
    routing_keep_rules(x);
    view_unref(pw, &x->view);
    x->view = view_ref(pw);
    x->cluster = (struct cluster *)found;
    x->opt = &found->options;
    x->back = exchange_back_of(x);
    return true;
}

/* The worker whose first has waited longest; NULL when nobody waits. A tie goes to ourselves. */
static struct pworker *worker_with_oldest(struct pworker *pw, uint32_t slot)
{
    struct proxy *p = pw->proxy;
    struct pworker *found = NULL;
    uint64_t oldest_ns = UINT64_MAX;
    for (int i = 0; i < p->worker_count; i++) {
        struct pworker *other = &p->workers[i];
        uint64_t at_ns = atomic_load_explicit(&other->hold_rooms[slot].oldest_ns, memory_order_seq_cst);
        if (at_ns && (at_ns < oldest_ns || (at_ns == oldest_ns && other == pw))) {
            oldest_ns = at_ns;
            found = other;
        }
    }
    return found;
}

/* Ours is the oldest of all, or near enough. */
static bool is_our_turn(struct pworker *pw, const struct hold_place *place, const struct cluster *c)
{
    const struct pworker *to = worker_with_oldest(pw, c->slot);
    if (to == pw || !to || !wave_is_for(c))
        return to == pw;
    uint64_t at_ns = atomic_load_explicit(&to->hold_rooms[c->slot].oldest_ns, memory_order_relaxed);
    return at_ns + HOLD_TURN_NS > place->held_ns;
}

/* What lies in the place, whole, when it has a chance to go on: nobody is woken for nothing. */
static struct exchange *exchange_at(struct pworker *pw, struct hold_place *place, bool *out_stop)
{
    *out_stop = false;
    if (!place->is_berth)
        return CONTAINER_OF(place, struct exchange, place);
    const struct cluster *c = berth_cluster(place), *now = topology_cluster(pw->view->topology, c->id);
    *out_stop = !now || now->slot != c->slot || !may_have_room(pw, now);
    return *out_stop ? NULL : berth_leave(place);
}

/* In order, as long as ours is the oldest of all and there is room. */
static void pump(struct hold_room *room)
{
    struct pworker *pw = room->pw;
    uint32_t slot = (uint32_t)(room - pw->hold_rooms);
    struct hold_place *place;
    bool stop;
    while ((place = first_of(room))) {
        if (!is_our_turn(pw, place, berth_cluster(place)))
            break;
        struct exchange *x = exchange_at(pw, place, &stop);
        if (!x && !stop)
            continue; /* it was lost */
        if (!x || !adopt_view(x))
            return;
        if (!exchange_retry_held(x))
            return; /* no room: whoever frees some gives the word again */
    }
    hold_freed(pw, slot); /* there may be more than we could use */
}

static void add_due(struct hold_room *room)
{
    struct pworker *pw = room->pw;
    if (list_is_empty(&room->due))
        list_push(&pw->rooms_due, &room->due);
    run_queue_add(&pw->w, &pw->hold_run);
}

static void on_run(struct run_node *n)
{
    struct pworker *pw = CONTAINER_OF(n, struct pworker, hold_run);
    struct list due;
    struct list *node;
    list_init(&due);
    list_splice(&due, &pw->rooms_due); /* what becomes due meanwhile has its turn in the next pass */
    while ((node = list_shift(&due)))
        pump(CONTAINER_OF(node, struct hold_room, due));
    berth_all(pw);
    cork_flush(&pw->w);
}

static void on_mail(struct worker *w, struct mail *m)
{
    struct hold_room *room = CONTAINER_OF(m, struct hold_room, mail);
    (void)w;
    atomic_store_explicit(&room->mailed, false,
                          memory_order_seq_cst); /* before we look: a later word comes again */
    add_due(room_of(room->pw, (uint32_t)(room - room->pw->hold_rooms)));
}

void hold_freed(struct pworker *pw, uint32_t slot)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&pw->proxy->hold.holding[slot], memory_order_seq_cst))
        return;
    struct pworker *to = worker_with_oldest(pw, slot);
    if (!to)
        return; /* someone is just coming in, and will look by itself */
    struct hold_room *room = &to->hold_rooms[slot];
    if (to == pw) {
        add_due(room_of(pw, slot));
    } else if (!atomic_exchange_explicit(&room->mailed, true, memory_order_seq_cst)) {
        room->mail.fn = on_mail;
        mailbox_send(&to->w.mailbox, &room->mail);
    }
}

void hold_release(struct pworker *pw)
{
    struct list all;
    struct list *node;
    list_init(&all);
    list_splice(&all, &pw->rooms);
    while ((node = list_shift(&all))) {
        list_push(&pw->rooms, node);
        pump(CONTAINER_OF(node, struct hold_room, node));
    }
    cork_flush(&pw->w);
}

void hold_tick(struct pworker *pw)
{
    for (struct list *n = pw->rooms.next; n != &pw->rooms; n = n->next) {
        const struct hold_place *place = first_of(CONTAINER_OF(n, struct hold_room, node));
        const struct cluster *was = place ? berth_cluster(place) : NULL;
        const struct cluster *c = was ? topology_cluster(pw->view->topology, was->id) : NULL;
        if (c && c->slot == was->slot && wave_is_for(c))
            wave_tick(pw, c);
    }
    hold_release(pw);
}

static void wake_room(struct hold_room *room, uint32_t *left)
{
    struct list *node = room->waiting.next;
    while (node != &room->waiting && *left) {
        struct hold_place *place = CONTAINER_OF(node, struct hold_place, node);
        node = node->next; /* what comes in its place stays before it */
        if (!place->is_berth)
            continue;
        (*left)--;
        (void)!berth_leave(place);
    }
}

void hold_wake_some(struct pworker *pw, uint32_t max)
{
    struct list *node = pw->rooms.next;
    while (node != &pw->rooms && max) {
        struct hold_room *room = CONTAINER_OF(node, struct hold_room, node);
        node = node->next; /* a room may become empty */
        wake_room(room, &max);
    }
}

bool hold_shared_init(struct proxy *p, uint32_t max_clusters)
{
    struct hold_shared *h = &p->hold;
    h->holding = calloc(max_clusters, sizeof *h->holding);
    h->waves = calloc(max_clusters, sizeof *h->waves);
    h->clients = clients_create();
    h->wakes = calloc((size_t)max_clusters * WAKE_KINDS, sizeof *h->wakes);
    return h->holding && h->waves && h->clients && h->wakes;
}

void hold_shared_fini(struct proxy *p)
{
    free(p->hold.holding);
    free(p->hold.waves);
    free(p->hold.clients);
    free(p->hold.wakes);
}

bool hold_init(struct pworker *pw, uint32_t max_clusters)
{
    list_init(&pw->rooms);
    list_init(&pw->rooms_due);
    list_init(&pw->to_berth);
    run_node_init(&pw->hold_run, on_run);
    deadline_init(&pw->hold_look, on_look);
    pw->hold_rooms = calloc(max_clusters, sizeof *pw->hold_rooms);
    return pw->hold_rooms != NULL;
}

void hold_fini(struct pworker *pw)
{
    free(pw->hold_rooms);
}
