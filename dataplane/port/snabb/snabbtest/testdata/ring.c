/* The library's C half alone, under gcc's sanitizers: every buffer is exactly as long as it must be, so that a byte too far is
 * caught. An honest reader must find every frame whole or counted as dropped; a reader that lies must do no harm.
 * usage: ring SEED ROUNDS; prints nothing when all is well */
#include "../../firehose/firehose.c"

#include <stdio.h>

#define RING 64

static uint64_t state;

static uint32_t any(uint32_t below)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % below;
}

static void check(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s\n", what);
		exit(1);
	}
}

/* What frame number n looks like: all follows from n. */
static uint32_t length_of(uint32_t n) { return n % 7 == 0 ? n % 64 : n % 1009 == 0 ? 65535 : 40 + n % 1600; }
static uint16_t tag_of(uint32_t n) { return n % 5 == 0 ? (uint16_t)n : 0; }

static void build(uint32_t n, uint8_t *to)
{
	uint32_t len = length_of(n);
	for (uint32_t i = 0; i < len; i++)
		to[i] = (uint8_t)(n + i * 7);
	if (len >= 14) {
		to[12] = n % 2 ? 0x86 : 0x08;
		to[13] = n % 2 ? 0xdd : 0x00;
	}
	if (len >= 4)
		memcpy(to, &n, 4);
}

struct reader {
	struct weir_feed *feed;
	uint64_t *words; /* polls, missed, then head, dropped, tail of each queue */
	uint64_t read[WEIR_QUEUES], frames;
};

static void attach(struct reader *r)
{
	uint32_t queues = 1 + any(4);
	uint64_t slots = 64u << any(3), size = 65536u << any(2);
	*r = (struct reader){.words = calloc(2 + 3 * queues, 8)};
	r->feed = weir_feed_new(queues, slots, size, 64 + any(2000), (uintptr_t)&r->words[0], (uintptr_t)&r->words[1]);
	for (uint32_t q = 0; q < queues; q++) {
		uint64_t *w = &r->words[2 + 3 * q];
		void *descs = malloc(slots * sizeof(struct weir_desc)), *data = malloc(size);
		check(weir_feed_queue(r->feed, q, (uintptr_t)&w[0], (uintptr_t)&w[1], (uintptr_t)&w[2], (uintptr_t)descs, (uintptr_t)data), "memory");
	}
	weir_offer(0, r->feed);
}

static void detach(struct reader *r)
{
	weir_offer(0, NULL);
	weir_take_all();
	check(weir_taken(0), "not taken");
	for (uint32_t q = 0; q < r->feed->queues; q++) {
		free(r->feed->queue[q].descs);
		free(r->feed->queue[q].data);
	}
	weir_feed_free(r->feed);
	free(r->words);
}

static void verify(const struct weir_feed *f, const struct weir_desc *d, const uint8_t *p)
{
	static uint8_t want[65535];
	uint32_t n;
	if (d->keep < 16)
		return; /* its number is not in it, or not alone */
	memcpy(&n, p, 4);
	build(n, want);
	uint32_t len = length_of(n), tag = tag_of(n) != 0 ? 4 : 0;
	check(d->wire == len + tag, "length");
	check(d->keep == (d->wire < f->snap ? d->wire : f->snap), "kept");
	check(memcmp(p, want, 12) == 0, "addresses");
	if (tag)
		check(p[12] == 0x81 && p[13] == 0 && p[14] == tag_of(n) >> 8 && p[15] == (tag_of(n) & 255), "tag");
	check(memcmp(p + 12 + tag, want + 12, d->keep - 12 - tag) == 0, "contents");
}

/* Reads some of what there is, as package snabb does. */
static void honest(struct reader *r)
{
	for (uint32_t i = 0; i < r->feed->queues; i++) {
		struct weir_queue *q = &r->feed->queue[i];
		uint64_t head = r->words[2 + 3 * i];
		check(head - r->read[i] <= r->feed->slots, "too many frames in a ring");
		for (uint32_t n = any(200); n > 0 && r->read[i] != head; n--, r->read[i]++, r->frames++) {
			struct weir_desc *d = &q->descs[r->read[i] & (r->feed->slots - 1)];
			check(d->mark == (uint32_t)r->read[i], "mark");
			check((uint64_t)d->line * WEIR_LINE + d->keep <= r->feed->size, "outside of the data");
			verify(r->feed, d, q->data + (uint64_t)d->line * WEIR_LINE);
		}
		r->words[2 + 3 * i + 2] = r->read[i];
	}
}

static void lie(struct reader *r)
{
	uint64_t head = r->words[2], lies[] = {0, ~0ull, head + 1, head - 1, head, head - 63, head + any(1000), (uint64_t)any(1u << 31) << 33};
	r->words[2 + 3 * any(r->feed->queues) + 2] = lies[any(8)];
}

static uint8_t *packets[RING];
static struct weir_rdesc ring[RING];
static int at, filled;
static uint32_t number;
static uint64_t sent;

/* The NIC fills some buffers, each a block as long as its frame, and Snabb calls back. */
static void receive(void)
{
	for (uint32_t n = any(RING); n > 0; n--) {
		free(packets[filled]);
		packets[filled] = malloc(length_of(number) ? length_of(number) : 1);
		build(number, packets[filled]);
		ring[filled] = (struct weir_rdesc){
			.length = (uint16_t)length_of(number), .status = tag_of(number) ? DD | VP : DD, .vlan = tag_of(number),
		};
		filled = (filled + 1) % RING;
		number++;
		sent++;
	}
	at = firehose_callback_v1("0000:03:00.0", (char **)packets, ring, RING, at);
	check(at == filled, "index");
	for (int i = 0; i < RING; i++)
		check(!(ring[i].status & DD), "a descriptor was not given back");
}

int main(int argc, char **argv)
{
	check(argc == 3, "usage: ring SEED ROUNDS");
	state = strtoull(argv[1], NULL, 10);
	for (int i = 0; i < RING; i++)
		packets[i] = malloc(1);
	receive(); /* nobody is there */
	for (int round = atoi(argv[2]); round > 0; round--) {
		struct reader r;
		int liar = round % 3 == 0;
		uint64_t before = nics[0].dropped, missed = nics[0].missed;
		attach(&r);
		sent = 0;
		for (int i = 0; i < 300; i++) {
			receive();
			for (uint32_t q = 0; q < r.feed->queues; q++)
				check(r.feed->queue[q].head - r.feed->queue[q].tail <= r.feed->slots, "a lie was believed");
			if (liar && any(3) == 0)
				lie(&r);
			else if (!liar && any(2))
				honest(&r);
		}
		check(r.words[0] == 300 && r.words[1] == missed, "polls and missed");
		uint64_t frames = r.frames;
		detach(&r);
		if (!liar)
			check(frames + (nics[0].dropped - before) + (nics[0].missed - missed) == sent, "frames are not accounted for");
	}
	for (int i = 0; i < RING; i++)
		free(packets[i]);
	return 0;
}
