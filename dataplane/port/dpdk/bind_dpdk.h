/* What Go sees of DPDK: a few functions and plain structs, so that cgo does not have to read DPDK's own headers. */
#ifndef WEIR_BIND_DPDK_H
#define WEIR_BIND_DPDK_H

#include <stddef.h>
#include <stdint.h>

#define WEIR_BURST 64

/* One received frame. Go reads it, C memory holds it. */
struct weir_desc {
	uint8_t *data;   /* first byte of the frame, in the first segment */
	uint32_t caplen; /* bytes there */
	uint32_t pktlen; /* bytes on the wire, a tag that the device stripped included */
};

/* What the device found out about a frame. */
struct weir_meta {
	uint32_t hash;     /* RSS hash, when has_hash */
	uint32_t has_hash;
	uint32_t ptype;    /* RTE_PTYPE_*, 0 when the device gave none */
};

/* One receive queue. The worker's thread writes it, inside weir_rx only. */
struct weir_queue {
	struct weir_desc desc[WEIR_BURST];
	uint64_t sum;      /* bytes on the wire of the burst */
	uint64_t hashed;   /* frames since start with an RSS hash */
	uint64_t typed;    /* frames since start with a packet type */
	uint64_t untagged; /* frames since start whose tag the device had stripped */
	uint64_t chained;  /* frames since start that span buffers */
	uint16_t port, queue;
	uint16_t pending; /* frames of the last burst, still ours */
	uint16_t plain;   /* they are single buffers of our own pool */
	uint16_t failed_register;
	void *pool;
};

/* What weir_port_open wants and tells. */
struct weir_open {
	/* in */
	uint16_t queues;     /* 0: as the device offers */
	uint16_t promiscuous, vlan_strip, rss; /* rss: 0 off, 1 addresses, 2 addresses and ports */
	uint32_t mtu;        /* 0: the device's own */
	uint32_t descriptors, mbufs, buffer;
	/* out */
	uint16_t port, owned, probed, stripping, hashing, symmetric; /* owned: port is ours to close */
	int32_t node;
	uint32_t pool_size;
	char driver[64];
	char failed[160];/* which step failed */
	void *pool;
};

struct weir_link { uint32_t speed; uint16_t up, full; };

struct weir_stats { uint64_t ipackets, ibytes, imissed, ierrors, nombuf; };

struct weir_xstat { char name[64]; uint64_t value; };

/* All but weir_rx are called from the thread that called weir_init. They return 0 or a negative errno. */
int weir_init(int argc, char **argv);
int weir_port_open(const char *devargs, const char *name, struct weir_open *o);
int weir_port_start(struct weir_open *o);
int weir_port_stop(const struct weir_open *o);
int weir_port_close(struct weir_open *o);
struct weir_queue *weir_queue_new(const struct weir_open *o, uint16_t queue);
void weir_queue_free(struct weir_queue *q);
int weir_link(uint16_t port, struct weir_link *l);
int weir_stats(uint16_t port, struct weir_stats *s);
int weir_xstats(uint16_t port, struct weir_xstat *x, int n);
int weir_removed(uint16_t port);
int weir_log_tail(char *to, int size);
void weir_rss_key(uint8_t *key, int size);

/* Gives back the frames of the last burst and receives the next: the one crossing of a burst. q is a struct weir_queue.
 * Any thread, one at a time for a queue. */
int weir_rx(uintptr_t q);

/* What the device found out about frame i of the burst in hand; any thread, between weir_rx and the next. */
struct weir_meta weir_meta(struct weir_queue *q, int i);

#endif
