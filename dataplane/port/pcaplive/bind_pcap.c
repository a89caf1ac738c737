//go:build pcap

#include "bind_pcap.h"

#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct weir_pcap *failed(struct weir_pcap *w, const char *what, int rc, char *err, int errlen)
{
	const char *text = pcap_geterr(w->p);
	if (text == NULL || text[0] == 0)
		text = pcap_statustostr(rc);
	snprintf(err, (size_t)errlen, "%s: %s", what, text);
	weir_pcap_close(w);
	return NULL;
}

struct weir_pcap *weir_pcap_open(const char *device, int snap, int promiscuous, int buffer, int outgoing, const char *filter,
	char *err, int errlen)
{
	char text[PCAP_ERRBUF_SIZE] = "";
	struct weir_pcap *w = calloc(1, sizeof(*w));
	if (w == NULL || (w->mem = malloc((size_t)snap * WEIR_BURST)) == NULL) {
		free(w);
		snprintf(err, (size_t)errlen, "no memory");
		return NULL;
	}
	w->snap = (uint32_t)snap;
	w->p = pcap_create(device, text);
	if (w->p == NULL) {
		snprintf(err, (size_t)errlen, "%s", text);
		weir_pcap_close(w);
		return NULL;
	}
	pcap_set_snaplen(w->p, snap);
	pcap_set_promisc(w->p, promiscuous);
	pcap_set_buffer_size(w->p, buffer);
	pcap_set_timeout(w->p, 1);
	pcap_set_immediate_mode(w->p, 1);
	w->nanos = pcap_set_tstamp_precision(w->p, PCAP_TSTAMP_PRECISION_NANO) == 0;
	int rc = pcap_activate(w->p);
	if (rc < 0)
		return failed(w, "open", rc, err, errlen);
	if (pcap_setnonblock(w->p, 1, text) < 0) {
		snprintf(err, (size_t)errlen, "make it not block: %s", text);
		weir_pcap_close(w);
		return NULL;
	}
	if (!outgoing)
		pcap_setdirection(w->p, PCAP_D_IN); /* where the system can */
	if (filter[0] != 0) {
		struct bpf_program prog;
		rc = pcap_compile(w->p, &prog, filter, 1, PCAP_NETMASK_UNKNOWN);
		if (rc < 0)
			return failed(w, "options.filter", rc, err, errlen);
		rc = pcap_setfilter(w->p, &prog);
		pcap_freecode(&prog);
		if (rc < 0)
			return failed(w, "options.filter", rc, err, errlen);
	}
	w->link = pcap_datalink(w->p);
	return w;
}

void weir_pcap_close(struct weir_pcap *w)
{
	if (w->p != NULL)
		pcap_close(w->p);
	free(w->mem);
	free(w);
}

static void take(u_char *user, const struct pcap_pkthdr *h, const u_char *bytes)
{
	struct weir_pcap *w = (struct weir_pcap *)user;
	if (w->n >= WEIR_BURST) {
		w->truncated++;
		return;
	}
	struct weir_frame *f = &w->frame[w->n];
	f->data = w->mem + (size_t)w->n * w->snap;
	f->caplen = h->caplen < w->snap ? h->caplen : w->snap;
	f->len = h->len;
	f->sec = h->ts.tv_sec;
	f->frac = h->ts.tv_usec;
	memcpy(f->data, bytes, f->caplen);
	w->sum += h->len;
	w->n++;
}

int weir_pcap_rx(uintptr_t handle)
{
	struct weir_pcap *w = (struct weir_pcap *)handle;
	w->n = 0;
	w->sum = 0;
	int rc = pcap_dispatch(w->p, WEIR_BURST, take, (u_char *)w);
	return w->n > 0 || rc >= 0 ? w->n : rc;
}

int weir_pcap_stats(struct weir_pcap *w, uint32_t *received, uint32_t *dropped, uint32_t *ifdropped)
{
	struct pcap_stat s;
	int rc = pcap_stats(w->p, &s);
	if (rc == 0) {
		*received = s.ps_recv;
		*dropped = s.ps_drop;
		*ifdropped = s.ps_ifdrop;
	}
	return rc;
}

void weir_pcap_error(struct weir_pcap *w, char *to, int size)
{
	snprintf(to, (size_t)size, "%s", pcap_geterr(w->p));
}

const char *weir_pcap_version(void)
{
	return pcap_lib_version();
}
