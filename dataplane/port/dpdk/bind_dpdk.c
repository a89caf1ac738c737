//go:build dpdk

#define _GNU_SOURCE
#define ALLOW_EXPERIMENTAL_API /* of which the event of a removed device is part */
#include "bind_dpdk.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <rte_prefetch.h>

/* ---- log: the last lines, for error messages; warnings after set-up go to stderr too ---- */

static char log_ring[4096];
static size_t log_len;
static int log_through;
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;

static ssize_t log_write(void *cookie, const char *text, size_t n)
{
	(void)cookie;
	pthread_mutex_lock(&log_mutex);
	const char *from = text;
	size_t take = n;
	if (take > sizeof(log_ring)) {
		from += take - sizeof(log_ring);
		take = sizeof(log_ring);
	}
	if (log_len + take > sizeof(log_ring)) {
		size_t drop = log_len + take - sizeof(log_ring);
		memmove(log_ring, log_ring + drop, log_len - drop);
		log_len -= drop;
	}
	memcpy(log_ring + log_len, from, take);
	log_len += take;
	int through = log_through;
	pthread_mutex_unlock(&log_mutex);
	if (through)
		fwrite(text, 1, n, stderr);
	return (ssize_t)n;
}

/* Copies the last lines and forgets them. */
int weir_log_tail(char *to, int size)
{
	pthread_mutex_lock(&log_mutex);
	size_t n = log_len < (size_t)size ? log_len : (size_t)size;
	memcpy(to, log_ring + log_len - n, n);
	log_len = 0;
	pthread_mutex_unlock(&log_mutex);
	return (int)n;
}

/* ---- environment ---- */

static int port_left(uint16_t port, enum rte_eth_event_type event, void *arg, void *more);
static void device_left(const char *name, enum rte_dev_event_type event, void *arg);

static pthread_key_t thread_key;

/* A worker's thread that ends gives its lcore number back, else reloads would use all of them up. */
static void thread_left(void *registered)
{
	if (registered != NULL && rte_lcore_id() != LCORE_ID_ANY)
		rte_thread_unregister();
}

int weir_init(int argc, char **argv)
{
	cookie_io_functions_t io = { .write = log_write };
	FILE *f = fopencookie(NULL, "w", io);
	if (f != NULL) {
		setvbuf(f, NULL, _IOLBF, 512);
		rte_openlog_stream(f);
	}
	if (pthread_key_create(&thread_key, thread_left) != 0)
		return -EAGAIN;
	/* Of a wrong argument getopt says on stderr which, and then DPDK prints its manual. The error gets the one, nobody the other. */
	FILE *out = stdout, *err = stderr, *none = fopen("/dev/null", "w");
	if (f != NULL && none != NULL) {
		stdout = none;
		stderr = f;
	}
	int rc = rte_eal_init(argc, argv);
	stdout = out;
	stderr = err;
	if (none != NULL)
		fclose(none);
	if (rc < 0)
		return rte_errno != 0 ? -rte_errno : -EINVAL;
	rc = rte_dev_event_callback_register(NULL, device_left, NULL);
	if (rc == 0)
		rc = rte_eth_dev_callback_register(RTE_ETH_ALL, RTE_ETH_EVENT_INTR_RMV, port_left, NULL);
	return rc;
}

/* ---- ports ---- */

/* The symmetric Toeplitz key of Woo and Park: both directions of a flow have one hash. */
void weir_rss_key(uint8_t *key, int size)
{
	for (int i = 0; i < size; i++)
		key[i] = i % 2 == 0 ? 0x6d : 0x5a;
}

/* Ports that are open here, with the name of their device: a device cannot be opened twice. Written on the EAL's main thread,
 * read by its interrupt thread too. */
static struct {
	uint8_t in_use;
	_Atomic uint8_t gone;
	char device[64];
} ports[RTE_MAX_ETHPORTS];

/* A driver says that its device went away. */
static int port_left(uint16_t port, enum rte_eth_event_type event, void *arg, void *more)
{
	(void)event, (void)arg, (void)more;
	ports[port].gone = 1;
	return 0;
}

/* The bus says so: with vfio-pci the kernel waits for us to let go of the device. */
static void device_left(const char *name, enum rte_dev_event_type event, void *arg)
{
	(void)arg;
	if (event != RTE_DEV_EVENT_REMOVE)
		return;
	for (int i = 0; i < RTE_MAX_ETHPORTS; i++)
		if (ports[i].in_use && (name == NULL || strcmp(ports[i].device, name) == 0))
			ports[i].gone = 1;
}

static int step(struct weir_open *o, const char *what, int rc)
{
	if (rc < 0)
		snprintf(o->failed, sizeof(o->failed), "%s", what);
	return rc;
}

static uint64_t hash_functions(const struct weir_open *o)
{
	const uint64_t addresses = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_OTHER |
		RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_FRAG_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_OTHER | RTE_ETH_RSS_IPV6_EX;
	if (o->rss == 0)
		return 0;
	if (o->rss == 1)
		return addresses;
	return addresses | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP;
}

static int configure(struct weir_open *o, const struct rte_eth_dev_info *info, uint16_t tx)
{
	uint8_t key[UINT8_MAX];
	struct rte_eth_conf conf;
	memset(&conf, 0, sizeof(conf));
	conf.rxmode.mtu = o->mtu;
	o->stripping = o->hashing = o->symmetric = 0;
	if (o->vlan_strip && (info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_VLAN_STRIP)) {
		conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
		o->stripping = 1;
	}
	if (info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER)
		conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_SCATTER; /* frames larger than a buffer */
	uint64_t functions = hash_functions(o) & info->flow_type_rss_offloads;
	if (o->queues > 1 && functions != 0) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = functions;
		if (info->hash_key_size > 0) {
			weir_rss_key(key, info->hash_key_size);
			conf.rx_adv_conf.rss_conf.rss_key = key;
			conf.rx_adv_conf.rss_conf.rss_key_len = info->hash_key_size;
			o->symmetric = 1;
		}
		if (info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_RSS_HASH)
			conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_RSS_HASH;
		o->hashing = 1;
	}
	return rte_eth_dev_configure(o->port, o->queues, tx, &conf);
}

/* As rte_pktmbuf_pool_create, but buffers may lie across pages where devices see virtual addresses anyway. Without huge pages there would be
 * one of 2 KB in each page, all at one offset and so in one set of the cache: 25 ns a frame instead of 8 on net_null. */
static struct rte_mempool *make_pool(const char *name, unsigned n, unsigned cache, uint16_t room, int node)
{
	struct rte_pktmbuf_pool_private about = { .mbuf_data_room_size = room };
	struct rte_mempool *pool = rte_mempool_create_empty(name, n, (unsigned)sizeof(struct rte_mbuf) + room, cache, sizeof(about),
		node, rte_eal_iova_mode() == RTE_IOVA_VA ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0);
	if (pool == NULL)
		return NULL;
	int rc = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
	if (rc == 0) {
		rte_pktmbuf_pool_init(pool, &about);
		rc = rte_mempool_populate_default(pool);
	}
	if (rc < 0) {
		rte_mempool_free(pool);
		rte_errno = -rc;
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

/* Some drivers (net_af_xdp, net_tap) insist on as many transmit as receive queues, and net_memif refuses a peer that has any; we
 * never send. */
static int configure_queues(struct weir_open *o, const struct rte_eth_dev_info *info)
{
	uint16_t tx = strcmp(o->driver, "net_memif") == 0 ? o->queues : 0;
	int rc = configure(o, info, tx);
	if (rc < 0 && info->max_tx_queues >= o->queues) {
		tx = o->queues;
		rc = configure(o, info, tx);
	}
	if (rc < 0)
		return step(o, "configure", rc);
	uint16_t rxd = o->descriptors, txd = 128;
	rc = rte_eth_dev_adjust_nb_rx_tx_desc(o->port, &rxd, &txd);
	if (rc < 0 && rc != -ENOTSUP)
		return step(o, "size the rings", rc);
	o->descriptors = rxd;
	int node = rte_eth_dev_socket_id(o->port);
	o->node = node;
	uint32_t n = o->mbufs != 0 ? o->mbufs : o->queues * ((uint32_t)rxd + 2 * WEIR_BURST + 2 * RTE_MEMPOOL_CACHE_MAX_SIZE) + 1023;
	uint32_t cache = n / 2 < 256 ? 0 : 256;
	static unsigned serial; /* a pool that could not be freed keeps its name */
	char name[RTE_MEMPOOL_NAMESIZE];
	snprintf(name, sizeof(name), "weir%u", serial++);
	o->pool = make_pool(name, n, cache, (uint16_t)(o->buffer + RTE_PKTMBUF_HEADROOM), node < 0 ? SOCKET_ID_ANY : node);
	if (o->pool == NULL)
		return step(o, "make the buffers (too little memory: raise options.memory or reserve more huge pages, or lower descriptors, queues or mbufs)", rte_errno ? -rte_errno : -ENOMEM);
	o->pool_size = n;
	for (uint16_t q = 0; q < o->queues; q++) {
		rc = rte_eth_rx_queue_setup(o->port, q, rxd, node < 0 ? SOCKET_ID_ANY : (unsigned)node, NULL, o->pool);
		if (rc < 0)
			return step(o, "set up a receive queue", rc);
	}
	for (uint16_t q = 0; q < tx; q++) {
		rc = rte_eth_tx_queue_setup(o->port, q, txd, node < 0 ? SOCKET_ID_ANY : (unsigned)node, NULL);
		if (rc < 0)
			return step(o, "set up a transmit queue", rc);
	}
	return 0;
}

/* net_tap says 16, puts a file descriptor for each and its transmit queue into a message that has room for 8, and ends the
 * process. */
static uint16_t queues_offered(const struct weir_open *o, const struct rte_eth_dev_info *info)
{
	const uint16_t tap = RTE_MP_MAX_FD_NUM / 2;
	return strcmp(o->driver, "net_tap") == 0 && info->max_rx_queues > tap ? tap : info->max_rx_queues;
}

int weir_port_open(const char *devargs, const char *name, struct weir_open *o)
{
	int rc = rte_eth_dev_get_port_by_name(name, &o->port);
	if (rc < 0) {
		rc = rte_dev_probe(devargs);
		if (rc < 0)
			return step(o, "probe", rc);
		o->probed = 1;
		rc = rte_eth_dev_get_port_by_name(name, &o->port);
		if (rc < 0)
			return step(o, "find the port after the probe", rc);
	}
	if (ports[o->port].in_use)
		return step(o, "the device is open already", -EBUSY);
	snprintf(ports[o->port].device, sizeof(ports[o->port].device), "%s", name);
	ports[o->port].gone = 0;
	ports[o->port].in_use = o->owned = 1;
	struct rte_eth_dev_info info;
	rc = rte_eth_dev_info_get(o->port, &info);
	if (rc < 0)
		return step(o, "ask for the device's abilities", rc);
	snprintf(o->driver, sizeof(o->driver), "%s", info.driver_name);
	const uint16_t offered = queues_offered(o, &info);
	/* Virtual devices have as many queues as they were made with; hardware and some of them offer more than anyone wants. */
	if (o->queues == 0)
		o->queues = strncmp(o->driver, "net_", 4) == 0 && info.max_rx_queues <= 64 && strchr(name, ':') == NULL &&
			offered == info.max_rx_queues ? offered : 1;
	if (o->queues > offered || offered == 0) {
		snprintf(o->failed, sizeof(o->failed), "queues: %u are configured and the device offers %u", o->queues, offered);
		return -ERANGE;
	}
	return configure_queues(o, &info);
}

int weir_port_start(struct weir_open *o)
{
	int rc = rte_eth_dev_start(o->port);
	if (rc < 0)
		return step(o, "start", rc);
	if (o->promiscuous) {
		rc = rte_eth_promiscuous_enable(o->port);
		if (rc < 0 && rc != -ENOTSUP) /* devices without an address filter have no such switch */
			return step(o, "make promiscuous", rc);
	}
	pthread_mutex_lock(&log_mutex);
	log_len = 0;
	log_through = 1;
	pthread_mutex_unlock(&log_mutex);
	return 0;
}

int weir_port_stop(const struct weir_open *o)
{
	if (o->promiscuous)
		rte_eth_promiscuous_disable(o->port); /* a device that is gone refuses; so be it */
	return rte_eth_dev_stop(o->port);
}

int weir_port_close(struct weir_open *o)
{
	/* A device that came with the EAL's own arguments stays, since nobody could bring it back; so does its pool, which its
	 * queues still know, until the next pool replaces it. */
	static void *kept[RTE_MAX_ETHPORTS];
	if (!o->owned)
		return 0;
	ports[o->port].in_use = 0;
	if (!o->probed) {
		if (o->pool != NULL) {
			rte_mempool_free(kept[o->port]);
			kept[o->port] = o->pool;
		}
		return 0;
	}
	struct rte_eth_dev_info info;
	struct rte_device *dev = NULL;
	int rc = rte_eth_dev_info_get(o->port, &info);
	if (rc == 0)
		dev = info.device;
	rc = rte_eth_dev_close(o->port);
	if (dev != NULL) {
		int removed = rte_dev_remove(dev);
		if (rc == 0)
			rc = removed;
	}
	rte_mempool_free(o->pool);
	o->pool = NULL;
	return rc;
}

struct weir_queue *weir_queue_new(const struct weir_open *o, uint16_t queue)
{
	/* On the device's node, as its pool. */
	struct weir_queue *q = rte_zmalloc_socket("weir_queue", sizeof(*q) + WEIR_BURST * sizeof(void *), 128,
		o->node < 0 ? SOCKET_ID_ANY : o->node);
	if (q == NULL)
		return NULL;
	q->port = o->port;
	q->queue = queue;
	q->pool = o->pool;
	return q;
}

/* The frames of the burst lie behind the queue, out of Go's sight. */
static inline struct rte_mbuf **frames_of(struct weir_queue *q)
{
	return (struct rte_mbuf **)(q + 1);
}

void weir_queue_free(struct weir_queue *q)
{
	if (q->pending != 0)
		rte_pktmbuf_free_bulk(frames_of(q), q->pending);
	rte_free(q);
}

int weir_link(uint16_t port, struct weir_link *l)
{
	struct rte_eth_link link;
	int rc = rte_eth_link_get_nowait(port, &link);
	if (rc == 0) {
		l->speed = link.link_speed;
		l->up = link.link_status;
		l->full = link.link_duplex;
	}
	return rc;
}

int weir_stats(uint16_t port, struct weir_stats *s)
{
	struct rte_eth_stats e;
	int rc = rte_eth_stats_get(port, &e);
	if (rc == 0) {
		s->ipackets = e.ipackets;
		s->ibytes = e.ibytes;
		s->imissed = e.imissed;
		s->ierrors = e.ierrors;
		s->nombuf = e.rx_nombuf;
	}
	return rc;
}

/* Returns how many there are in x, at most n. */
int weir_xstats(uint16_t port, struct weir_xstat *x, int n)
{
	int have = rte_eth_xstats_get(port, NULL, 0);
	if (have <= 0)
		return have;
	struct rte_eth_xstat *v = calloc((size_t)have, sizeof(*v));
	struct rte_eth_xstat_name *names = calloc((size_t)have, sizeof(*names));
	int out = 0;
	if (v != NULL && names != NULL) {
		int a = rte_eth_xstats_get(port, v, (unsigned)have);
		int b = rte_eth_xstats_get_names(port, names, (unsigned)have);
		for (int i = 0; a == have && b == have && i < have && out < n; i++) {
			if (v[i].value == 0)
				continue;
			snprintf(x[out].name, sizeof(x[out].name), "%s", names[i].name);
			x[out++].value = v[i].value;
		}
	}
	free(v);
	free(names);
	return out;
}

int weir_removed(uint16_t port)
{
	return ports[port].gone || rte_eth_dev_is_removed(port);
}

/* ---- reception ---- */

/* Registers the calling thread, so that it has a cache of its own in the pool. It works without, slower. */
static __rte_noinline void enter(struct weir_queue *q)
{
	if (q->failed_register)
		return;
	if (rte_thread_register() != 0) {
		q->failed_register = 1;
		return;
	}
	pthread_setspecific(thread_key, q);
}

/* Writes the tags that the device took out back into the frame, as on the wire. */
static __rte_noinline void restore_tags(struct weir_queue *q, struct rte_mbuf *m)
{
	const int both = (m->ol_flags & RTE_MBUF_F_RX_QINQ_STRIPPED) != 0;
	const uint16_t tci[2] = { m->vlan_tci, m->vlan_tci_outer };
	const uint16_t tpid[2] = { RTE_ETHER_TYPE_VLAN, RTE_ETHER_TYPE_QINQ };
	for (int i = 0; i <= both; i++) {
		if (rte_pktmbuf_data_len(m) < 12)
			return;
		char *p = rte_pktmbuf_prepend(m, 4);
		if (p == NULL)
			return;
		memmove(p, p + 4, 12);
		uint16_t tag[2] = { rte_cpu_to_be_16(tpid[i]), rte_cpu_to_be_16(tci[i]) };
		memcpy(p + 12, tag, 4);
	}
	q->untagged++;
}

/* Buffers that are surely whole and ours go straight back to the pool, without a look at each: 1 ns a frame. */
static inline void give_back(struct weir_queue *q)
{
	if (q->plain)
		rte_mempool_put_bulk(q->pool, (void **)frames_of(q), q->pending);
	else
		rte_pktmbuf_free_bulk(frames_of(q), q->pending);
	q->pending = 0;
}

/* Counts what the device says about the frames of the burst; most say nothing. */
static __rte_noinline void note(struct weir_queue *q, uint16_t n)
{
	struct rte_mbuf **m = frames_of(q);
	for (uint16_t i = 0; i < n; i++) {
		q->hashed += (m[i]->ol_flags & RTE_MBUF_F_RX_RSS_HASH) != 0;
		q->typed += m[i]->packet_type != 0;
		q->chained += m[i]->nb_segs != 1;
	}
}

int weir_rx(uintptr_t handle)
{
	struct weir_queue *q = (struct weir_queue *)handle;
	struct rte_mbuf **m = frames_of(q);
	if (unlikely(rte_lcore_id() == LCORE_ID_ANY))
		enter(q);
	if (q->pending != 0)
		give_back(q);
	const uint16_t n = rte_eth_rx_burst(q->port, q->queue, m, WEIR_BURST);
	q->pending = n;
	const uintptr_t pool = (uintptr_t)q->pool;
	struct weir_desc *d = q->desc;
	uint64_t sum = 0, told = 0, odd = 0;
	for (uint16_t i = 0; i < n; i++, d++) {
		struct rte_mbuf *b = m[i];
		const uint64_t flags = b->ol_flags;
		if (unlikely(flags & (RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_QINQ_STRIPPED)))
			restore_tags(q, b);
		d->data = rte_pktmbuf_mtod(b, uint8_t *);
		rte_prefetch0(d->data);
		d->caplen = rte_pktmbuf_data_len(b);
		const uint32_t length = rte_pktmbuf_pkt_len(b);
		d->pktlen = length;
		sum += length;
		told |= flags | b->packet_type;
		odd |= ((uintptr_t)b->pool ^ pool) | (uint64_t)(b->nb_segs ^ 1) | (uint64_t)(rte_mbuf_refcnt_read(b) ^ 1);
	}
	q->plain = (odd | (told & (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL))) == 0;
	q->sum = sum;
	if (unlikely((told | odd) != 0))
		note(q, n);
	return n;
}

struct weir_meta weir_meta(struct weir_queue *q, int i)
{
	const struct rte_mbuf *b = frames_of(q)[i];
	const uint32_t has = (b->ol_flags & RTE_MBUF_F_RX_RSS_HASH) != 0;
	return (struct weir_meta){ .hash = has ? b->hash.rss : 0, .has_hash = has, .ptype = b->packet_type };
}
