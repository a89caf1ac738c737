/* Snabb's firehose loop without Snabb: loads a library, makes a ring of 82599 descriptors in memory for each NIC named, and
 * calls the callback for each in turn. Commands come on standard input, answers of 8 bytes go to standard output.
 * usage: harness LIBRARY RINGSIZE NIC... */
#include <dlfcn.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BUFFER 10240

struct rdesc {
	uint64_t address;
	uint16_t length, cksum;
	uint8_t status, errors;
	uint16_t vlan;
} __attribute__((packed));

struct nic {
	const char *name;
	struct rdesc *ring;
	char **packets;
	int index, fill;
};

struct command {
	uint8_t what, nic;
	uint16_t size;
	uint32_t count, burst;
};

static int (*callback)(const char *, char **, void *, int, int);
static struct nic nics[100];
static int nic_count, ring_size, held;
static uint32_t random_state = 1;

static void die(const char *why)
{
	fprintf(stderr, "harness: %s\n", why);
	exit(1);
}

static void take(void *to, size_t n)
{
	for (char *p = to; n > 0;) {
		ssize_t got = read(0, p, n);
		if (got <= 0)
			exit(0); /* the test is over */
		p += got;
		n -= (size_t)got;
	}
}

static void answer(uint64_t v)
{
	if (write(1, &v, sizeof v) != sizeof v)
		exit(0);
}

static void poll_nic(struct nic *n) { n->index = callback(n->name, n->packets, n->ring, ring_size, n->index); }

/* The next buffer that the NIC may fill; one descriptor always stays with the driver. */
static int room(struct nic *n) { return n->ring[n->fill].status == 0 && ((n->fill + 1) & (ring_size - 1)) != n->index; }

static void ready(struct nic *n, uint16_t len, uint16_t vlan)
{
	struct rdesc *d = &n->ring[n->fill];
	d->length = len;
	d->vlan = vlan;
	__atomic_store_n(&d->status, vlan ? 1 | 2 | 8 : 1 | 2, __ATOMIC_RELEASE);
	n->fill = (n->fill + 1) & (ring_size - 1);
}

static void frames(struct nic *n, uint32_t count)
{
	int batch = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint16_t head[2];
		take(head, sizeof head);
		if (head[0] > BUFFER)
			die("a frame is too long");
		while (!room(n)) {
			if (held)
				die("the ring is full");
			poll_nic(n);
		}
		take(n->packets[n->fill], head[0]);
		ready(n, head[0], head[1]);
		if (batch-- == 0 && !held) { /* batches of all lengths */
			poll_nic(n);
			random_state = random_state * 1664525 + 1013904223;
			batch = (int)(random_state >> 16) % ring_size;
		}
	}
	while (!held && n->ring[n->index].status & 1)
		poll_nic(n);
	answer(count);
}

/* Of processor time, which says more than the clock on the wall when others work here too. */
static uint64_t nanoseconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* count frames of what the buffers hold, in bursts: how long it takes, and how long the same takes without the callback. */
static void bench(struct nic *n, const struct command *c)
{
	uint64_t begin = nanoseconds(), spent, bare = 0;
	for (uint32_t done = 0; done < c->count; done += c->burst) {
		for (uint32_t i = 0; i < c->burst; i++)
			ready(n, c->size, 0);
		poll_nic(n);
	}
	spent = nanoseconds() - begin;
	begin = nanoseconds();
	for (uint32_t done = 0; done < c->count; done += c->burst) {
		for (uint32_t i = 0; i < c->burst; i++)
			ready(n, c->size, 0);
		for (uint32_t i = 0; i < c->burst; i++) {
			__atomic_store_n(&n->ring[n->index].status, 0, __ATOMIC_RELEASE);
			n->index = (n->index + 1) & (ring_size - 1);
		}
	}
	bare = nanoseconds() - begin;
	answer(spent);
	answer(bare);
}

/* Polls with nothing ready. */
static void idle(struct nic *n, uint32_t count)
{
	uint64_t begin = nanoseconds();
	for (uint32_t i = 0; i < count; i++)
		poll_nic(n);
	answer(nanoseconds() - begin);
}

static void make(struct nic *n, const char *name)
{
	n->name = name;
	n->ring = calloc((size_t)ring_size, sizeof *n->ring);
	n->packets = calloc((size_t)ring_size, sizeof *n->packets);
	if (!n->ring || !n->packets)
		die("out of memory");
	for (int i = 0; i < ring_size; i++)
		if (!(n->packets[i] = calloc(1, BUFFER)))
			die("out of memory");
}

int main(int argc, char **argv)
{
	if (argc < 4 || argc > 103)
		die("usage: harness LIBRARY RINGSIZE NIC...");
	void *lib = dlopen(argv[1], RTLD_NOW);
	if (!lib)
		die(dlerror());
	void (*start)(void), (*stop)(void);
	*(void **)&start = dlsym(lib, "firehose_start");
	*(void **)&stop = dlsym(lib, "firehose_stop");
	*(void **)&callback = dlsym(lib, "firehose_callback_v1");
	if (!start || !stop || !callback)
		die("a symbol is missing");
	ring_size = atoi(argv[2]);
	for (int i = 3; i < argc; i++)
		make(&nics[nic_count++], argv[i]);
	start();
	answer(0);
	for (;;) {
		struct pollfd in = {.fd = 0, .events = POLLIN};
		for (int i = 0; i < nic_count && !held; i++)
			poll_nic(&nics[i]);
		if (poll(&in, 1, 0) == 0) {
			usleep(50); /* Snabb would not */
			continue;
		}
		struct command c;
		take(&c, sizeof c);
		struct nic *n = &nics[c.nic];
		switch (c.what) {
		case 'F':
			frames(n, c.count);
			break;
		case 'H':
			held = 1;
			answer(0);
			break;
		case 'G':
			held = 0;
			answer(0);
			break;
		case 'T':
			start();
			answer(0);
			break;
		case 'S':
			stop();
			answer(0);
			break;
		case 'B':
			bench(n, &c);
			break;
		case 'I':
			idle(n, c.count);
			break;
		default:
			die("what?");
		}
	}
}
