/* What Go sees of libpcap. */
#ifndef WEIR_BIND_PCAP_H
#define WEIR_BIND_PCAP_H

#include <stdint.h>

#define WEIR_BURST 64

struct weir_frame {
	uint8_t *data; /* in the handle's own memory */
	uint32_t caplen, len;
	int64_t sec, frac;
};

struct weir_pcap {
	struct weir_frame frame[WEIR_BURST];
	uint64_t sum;
	uint64_t truncated; /* frames that libpcap handed over beyond a burst: never seen, counted */
	uint32_t snap;
	int n, link, nanos;
	void *p;
	uint8_t *mem;
};

struct weir_pcap *weir_pcap_open(const char *device, int snap, int promiscuous, int buffer, int outgoing, const char *filter,
	char *err, int errlen);
void weir_pcap_close(struct weir_pcap *w);
int weir_pcap_stats(struct weir_pcap *w, uint32_t *received, uint32_t *dropped, uint32_t *ifdropped);
void weir_pcap_error(struct weir_pcap *w, char *to, int size);
const char *weir_pcap_version(void);

/* Fills the table with the next frames; their number, or negative on an error of the device. The one crossing of a burst. */
int weir_pcap_rx(uintptr_t w);

#endif
