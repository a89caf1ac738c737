//go:build snabb && cgo

/* The hot half of the library: from Snabb's ring of descriptors to the reader's ring. One thread calls firehose_callback_v1; Go's
 * threads meet it only in a NIC's offer and in counters. */
#include "firehose.h"

#include <stdlib.h>
#include <string.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define get(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define put(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

enum {
	DD = 1,      /* status: the NIC is done with the descriptor */
	VP = 8,      /* status: an 802.1Q frame; its tag is in vlan if the NIC took it out */
	AHEAD = 8,   /* frames that are prefetched */
	PUBLISH = 32 /* frames that a reader waits for at most, while more are there */
};

_Static_assert(sizeof(struct weir_rdesc) == 16 && offsetof(struct weir_rdesc, status) == 12, "82599");
_Static_assert(sizeof(struct weir_desc) == 16, "link.Desc");
_Static_assert((PUBLISH & (PUBLISH - 1)) == 0, "PUBLISH is a mask");

struct weir_nic {
	char name[WEIR_NAME];
	struct weir_feed *feed; /* the callback's */
	struct weir_feed *offer;
	uint64_t frames, dropped, missed;
};

/* What offer holds when nothing is offered, and while it is being taken. */
static struct weir_feed no_offer, taking;

static struct weir_nic nics[WEIR_NICS];
static uint32_t nic_count;
static struct weir_nic *last;

static int is(const struct weir_nic *nic, const char *name) { return strncmp(nic->name, name, WEIR_NAME - 1) == 0; }

/* The NIC of that name; NULL when there are too many. */
static struct weir_nic *find(const char *name)
{
	if (likely(last != NULL && is(last, name)))
		return last;
	for (uint32_t i = 0; i < nic_count; i++)
		if (is(&nics[i], name))
			return last = &nics[i];
	if (nic_count == WEIR_NICS)
		return NULL;
	struct weir_nic *nic = &nics[nic_count];
	strncpy(nic->name, name, WEIR_NAME - 1);
	nic->offer = &no_offer;
	put(&nic_count, nic_count + 1);
	return last = nic;
}

/* Learns what the reader gave back. What it says is believed only if it can be. */
static void reload(struct weir_queue *q, uint64_t slots)
{
	uint64_t tail = get(q->tail_in);
	if (tail != q->tail && tail - q->tail <= q->head - q->tail) {
		q->freed = q->ends[(tail - 1) & (slots - 1)];
		q->tail = tail;
	}
}

static void publish(struct weir_feed *f)
{
	for (uint32_t i = 0; i < f->queues; i++) {
		struct weir_queue *q = &f->queue[i];
		if (q->head != q->published) {
			put(q->head_out, q->head);
			q->published = q->head;
		}
	}
}

/* Ends a feed: what its reader left is missed. */
static void leave(struct weir_nic *nic, struct weir_feed *f)
{
	uint64_t missed = 0, dropped = 0;
	for (uint32_t i = 0; i < f->queues; i++) {
		struct weir_queue *q = &f->queue[i];
		reload(q, f->slots);
		missed += q->head - q->tail;
		dropped += q->dropped;
	}
	put(&nic->missed, nic->missed + missed);
	put(&nic->dropped, nic->dropped + dropped);
}

static void take(struct weir_nic *nic)
{
	struct weir_feed *offer = get(&nic->offer);
	if (offer == &no_offer || !__atomic_compare_exchange_n(&nic->offer, &offer, &taking, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return; /* withdrawn */
	if (nic->feed != NULL)
		leave(nic, nic->feed);
	nic->feed = offer;
	if (offer != NULL)
		put(offer->missed_out, nic->missed);
	put(&nic->offer, &no_offer);
}

static uint32_t mix(const uint8_t *address, int words)
{
	uint64_t h = 0;
	for (uint32_t w; words > 0; words--, address += 4) {
		memcpy(&w, address, 4);
		h = (h ^ w) * 0x9e3779b97f4a7c15u;
		h ^= h >> 32;
	}
	return (uint32_t)h;
}

/* A number that is the same for both directions of a conversation and all its fragments; 0 for what is not IP. Each address is mixed
 * on its own, since the two often differ in the same bits. */
static uint32_t hash(const uint8_t *p, uint32_t len)
{
	uint32_t at = 12, sum = 0;
	uint16_t type = 0;
	for (int tags = 0; tags < 3; tags++, at += 4) {
		if (at + 2 > len)
			return 0;
		type = (uint16_t)(p[at] << 8 | p[at + 1]);
		if (type != 0x8100 && type != 0x88a8 && type != 0x9100)
			break;
	}
	at += 2;
	if (type == 0x0800 && at + 20 <= len)
		sum = mix(p + at + 12, 1) + mix(p + at + 16, 1);
	else if (type == 0x86dd && at + 40 <= len)
		sum = mix(p + at + 8, 4) + mix(p + at + 24, 4);
	return sum * 0x9e3779b1u;
}

/* Most frames are of one line, for which a call is too dear. Nothing behind len is read. */
static inline void copy(uint8_t *to, const uint8_t *from, uint32_t len)
{
	if (likely(len >= 32 && len <= 64)) {
		memcpy(to, from, 32);
		memcpy(to + len - 32, from + len - 32, 32);
	} else {
		memcpy(to, from, len);
	}
}

static inline void put_frame(struct weir_feed *f, const struct weir_rdesc *d, const uint8_t *p)
{
	uint32_t len = d->length, pick = 0;
	int tagged = unlikely((d->status & VP) && d->vlan != 0 && len >= 12);
	if (f->queues > 1)
		pick = (uint32_t)((uint64_t)hash(p, len) * f->queues >> 32);
	struct weir_queue *q = &f->queue[pick];
	uint32_t wire = tagged ? len + 4 : len;
	uint32_t keep = wire < f->snap ? wire : f->snap;
	uint64_t need = (keep + WEIR_LINE - 1) & ~(uint64_t)(WEIR_LINE - 1);
	uint64_t pos = q->pos, at = pos & (f->size - 1);
	if (unlikely(at + need > f->size)) { /* not in two pieces */
		pos += f->size - at;
		at = 0;
	}
	if (unlikely(q->head - q->tail >= f->slots || pos + need - q->freed > f->size)) {
		reload(q, f->slots);
		if (q->head - q->tail >= f->slots || pos + need - q->freed > f->size) {
			put(q->dropped_out, ++q->dropped);
			return;
		}
	}
	uint8_t *to = q->data + at;
	if (unlikely(tagged)) {
		uint8_t tag[4] = {0x81, 0x00, (uint8_t)(d->vlan >> 8), (uint8_t)d->vlan};
		memcpy(to, p, 12);
		memcpy(to + 12, tag, 4);
		memcpy(to + 16, p + 12, keep - 16);
	} else {
		copy(to, p, keep);
	}
	uint64_t slot = q->head & (f->slots - 1);
	q->descs[slot] = (struct weir_desc){(uint32_t)(at / WEIR_LINE), keep, wire, (uint32_t)q->head};
	q->pos = q->ends[slot] = pos + need;
	q->head++;
}

/* At most once around, so that a NIC that is faster than we are cannot keep us. */
int firehose_callback_v1(const char *pciaddr, char **packets, struct weir_rdesc *rxring, int ring_size, int index)
{
	struct weir_nic *nic = find(pciaddr);
	struct weir_feed *f = NULL;
	if (likely(nic != NULL)) {
		if (unlikely(get(&nic->offer) != &no_offer))
			take(nic);
		f = nic->feed;
		if (f != NULL)
			put(f->polls_out, ++f->polls);
	}
	int mask = ring_size - 1, n = 0;
	for (; n < ring_size && (get(&rxring[index].status) & DD); n++) {
		struct weir_rdesc *d = &rxring[index];
		if (likely(f != NULL)) {
			__builtin_prefetch(packets[(index + AHEAD) & mask]);
			put_frame(f, d, (const uint8_t *)packets[index]);
			if ((n & (PUBLISH - 1)) == PUBLISH - 1)
				publish(f);
		}
		d->status = 0;
		index = (index + 1) & mask;
	}
	if (n > 0 && likely(nic != NULL)) {
		put(&nic->frames, nic->frames + (uint64_t)n);
		if (f != NULL)
			publish(f);
		else
			put(&nic->missed, nic->missed + (uint64_t)n);
	}
	return index;
}

uint32_t weir_nics(void) { return get(&nic_count); }

const char *weir_nic_name(uint32_t nic) { return nics[nic].name; }

void weir_nic_figures(uint32_t nic, struct weir_figures *f)
{
	*f = (struct weir_figures){get(&nics[nic].frames), get(&nics[nic].dropped), get(&nics[nic].missed)};
}

struct weir_feed *weir_feed_new(uint32_t queues, uint64_t slots, uint64_t size, uint32_t snap, uintptr_t polls, uintptr_t missed)
{
	struct weir_feed *f = calloc(1, sizeof *f);
	if (f == NULL)
		return NULL;
	f->queues = queues;
	f->slots = slots;
	f->size = size;
	f->snap = snap;
	f->polls_out = (uint64_t *)polls;
	f->missed_out = (uint64_t *)missed;
	return f;
}

int weir_feed_queue(struct weir_feed *f, uint32_t queue, uintptr_t head, uintptr_t dropped, uintptr_t tail, uintptr_t descs, uintptr_t data)
{
	struct weir_queue *q = &f->queue[queue];
	q->head_out = (uint64_t *)head;
	q->dropped_out = (uint64_t *)dropped;
	q->tail_in = (const uint64_t *)tail;
	q->descs = (struct weir_desc *)descs;
	q->data = (uint8_t *)data;
	q->ends = malloc(f->slots * sizeof *q->ends);
	if (q->ends != NULL)
		memset(q->ends, 0, f->slots * sizeof *q->ends); /* touched: no page fault in the loop */
	return q->ends != NULL;
}

void weir_feed_free(struct weir_feed *f)
{
	for (uint32_t i = 0; i < f->queues; i++)
		free(f->queue[i].ends);
	free(f);
}

void weir_offer(uint32_t nic, struct weir_feed *feed) { put(&nics[nic].offer, feed); }

int weir_taken(uint32_t nic) { return get(&nics[nic].offer) == &no_offer; }

int weir_withdraw(uint32_t nic, struct weir_feed *feed)
{
	return __atomic_compare_exchange_n(&nics[nic].offer, &feed, &no_offer, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

void weir_take_all(void)
{
	for (uint32_t i = 0; i < nic_count; i++)
		take(&nics[i]);
}
