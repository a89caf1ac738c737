/* What Snabb calls, and what Go sees of it. */
#ifndef WEIR_FIREHOSE_H
#define WEIR_FIREHOSE_H

#include <stddef.h>
#include <stdint.h>

#define WEIR_NICS 64
#define WEIR_NAME 64
#define WEIR_QUEUES 16
#define WEIR_LINE 64

/* The legacy receive descriptor of Intel's 82599, as the NIC writes it and Snabb hands it on. */
struct weir_rdesc {
	uint64_t address;
	uint16_t length, cksum;
	uint8_t status, errors;
	uint16_t vlan;
} __attribute__((packed));

/* link.Desc. */
struct weir_desc {
	uint32_t line, keep, wire, mark;
};

/* One ring. Pointers go into the shared memory; all that is believed is here. */
struct weir_queue {
	uint64_t *head_out, *dropped_out;
	const uint64_t *tail_in;
	struct weir_desc *descs;
	uint8_t *data;
	uint64_t *ends; /* where the data of each slot's frame ends, in bytes since the beginning */
	uint64_t head, published, tail, pos, freed, dropped;
};

/* One reader's memory. */
struct weir_feed {
	struct weir_queue queue[WEIR_QUEUES];
	uint64_t *polls_out, *missed_out;
	uint64_t polls, slots, size;
	uint32_t queues, snap;
};

/* What a NIC received. */
struct weir_figures {
	uint64_t frames, dropped, missed;
};

int firehose_callback_v1(const char *pciaddr, char **packets, struct weir_rdesc *rxring, int ring_size, int index);

/* The rest is Go's. NICs are numbered in the order in which they were first polled. */
uint32_t weir_nics(void);
const char *weir_nic_name(uint32_t nic);
void weir_nic_figures(uint32_t nic, struct weir_figures *f);

struct weir_feed *weir_feed_new(uint32_t queues, uint64_t slots, uint64_t size, uint32_t snap, uintptr_t polls, uintptr_t missed);
int weir_feed_queue(struct weir_feed *f, uint32_t queue, uintptr_t head, uintptr_t dropped, uintptr_t tail, uintptr_t descs, uintptr_t data);
void weir_feed_free(struct weir_feed *f);

/* Asks the callback to use feed from its next call on, or none. weir_taken says whether it does; only then may another be offered.
 * weir_withdraw takes the offer back: nonzero when the callback had not seen it and never will. */
void weir_offer(uint32_t nic, struct weir_feed *feed);
int weir_taken(uint32_t nic);
int weir_withdraw(uint32_t nic, struct weir_feed *feed);

/* Takes what is offered, in place of the callback: on Snabb's thread only. */
void weir_take_all(void);

#endif
