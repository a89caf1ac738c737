//go:build dpdk && cgo

package dpdk

// #cgo noescape weir_rx
// #cgo nocallback weir_rx
// #include <net/if.h>
// #include <stdlib.h>
// #include "bind_dpdk.h"
import "C"

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"unsafe"

	"github.com/weir-ddos/weir/dataplane/port"
)

// device is an open DPDK port. All functions but receive run on the EAL's main thread.
type device struct {
	o      *C.struct_weir_open // C memory
	queues []*C.struct_weir_queue
	driver string
	below  []kernelDevice
}

// kernelDevice is a network device of the kernel below a virtual device. DPDK says neither when that is gone nor when its link is down.
type kernelDevice struct {
	name  string
	index C.uint
}

func (k *kernelDevice) find() C.uint {
	name := C.CString(k.name)
	defer C.free(unsafe.Pointer(name))
	return C.if_nametoindex(name)
}

// running is whether the kernel's device is up and has a link.
func (k *kernelDevice) running() bool {
	dev, err := net.InterfaceByName(k.name)
	return err == nil && dev.Flags&net.FlagRunning != 0
}

// openDevice probes and configures the device; it receives nothing yet.
func openDevice(args string, queues int, opts Options) (*device, error) {
	d := &device{o: (*C.struct_weir_open)(C.calloc(1, C.sizeof_struct_weir_open))}
	flag := map[bool]C.uint16_t{true: 1}
	d.o.queues = C.uint16_t(queues)
	d.o.promiscuous, d.o.vlan_strip, d.o.rss = flag[opts.Promiscuous], flag[opts.VLANStrip], C.uint16_t(rssModes[opts.RSS])
	d.o.mtu, d.o.descriptors = C.uint32_t(opts.MTU), C.uint32_t(opts.Descriptors)
	d.o.mbufs, d.o.buffer = C.uint32_t(opts.Mbufs), C.uint32_t(opts.BufferSize)

	devargs, name := C.CString(args), C.CString(deviceName(args))
	defer C.free(unsafe.Pointer(devargs))
	defer C.free(unsafe.Pointer(name))
	logTail() // what was said before is no part of an error
	if err := d.failed(C.weir_port_open(devargs, name, d.o)); err != nil {
		if d.o.owned == 0 && d.o.probed == 0 && !errors.Is(err, syscall.EBUSY) {
			err = fmt.Errorf("%w\n(%s)", err, probeHint(args, errors.Is(err, syscall.EFAULT)))
		}
		return nil, errors.Join(err, d.close())
	}
	d.driver = C.GoString(&d.o.driver[0])
	for _, name := range below(d.driver, args) {
		k := kernelDevice{name: name}
		k.index = k.find()
		d.below = append(d.below, k)
	}
	for i := range d.o.queues {
		q := C.weir_queue_new(d.o, i)
		if q == nil {
			return nil, errors.Join(syscall.ENOMEM, d.close())
		}
		d.queues = append(d.queues, q)
	}
	return d, nil
}

// failed names the step at which an opening failed.
func (d *device) failed(rc C.int) error {
	step := C.GoString(&d.o.failed[0])
	if rc == -C.int(syscall.ERANGE) {
		return errors.New(step)
	}
	return failure(step, rc)
}

// start lets frames in.
func (d *device) start() error { return d.failed(C.weir_port_start(d.o)) }

// stop ends reception; frames that are held stay valid.
func (d *device) stop() error { return failure("stop", C.weir_port_stop(d.o)) }

// close gives everything back. Nobody may be receiving or hold frames.
func (d *device) close() error {
	for _, q := range d.queues {
		C.weir_queue_free(q)
	}
	d.queues = nil
	err := failure("close", C.weir_port_close(d.o))
	C.free(unsafe.Pointer(d.o))
	d.o = nil
	return err
}

// removed is whether the device was pulled out.
func (d *device) removed() bool {
	return C.weir_removed(d.o.port) != 0 || slices.ContainsFunc(d.below, func(k kernelDevice) bool { return k.find() != k.index })
}

// counters are the device's own figures since it was opened, by name: DPDK's basic statistics, then all extended
// ones that are not zero, with the prefix xstat_.
func (d *device) counters() (map[string]uint64, error) {
	var s C.struct_weir_stats
	if err := failure("statistics", C.weir_stats(d.o.port, &s)); err != nil {
		return nil, err
	}
	m := map[string]uint64{
		"ipackets": uint64(s.ipackets), "ibytes": uint64(s.ibytes), "imissed": uint64(s.imissed),
		"ierrors": uint64(s.ierrors), "rx_nombuf": uint64(s.nombuf),
	}
	const most = 512
	x := (*[most]C.struct_weir_xstat)(C.calloc(most, C.sizeof_struct_weir_xstat))
	defer C.free(unsafe.Pointer(x))
	for i := range max(0, int(C.weir_xstats(d.o.port, &x[0], most))) {
		m["xstat_"+C.GoString(&x[i].name[0])] = uint64(x[i].value)
	}
	return m, nil
}

// link says the link's state in words, and whether frames can come.
func (d *device) link() (text string, up bool) {
	var l C.struct_weir_link
	switch {
	case C.weir_link(d.o.port, &l) < 0:
		return "link unknown", true
	case l.up == 0 || slices.ContainsFunc(d.below, func(k kernelDevice) bool { return !k.running() }):
		return "link down", false
	case l.speed == 0 || l.speed == ^C.uint32_t(0):
		return "link up", true
	}
	duplex := "half"
	if l.full != 0 {
		duplex = "full"
	}
	return fmt.Sprintf("link up, %d Mb/s %s duplex", l.speed, duplex), true
}

// offload says in words what the device does for us.
func (d *device) offload(rss string) (text string) {
	if d.o.stripping != 0 {
		text = ", VLAN tags stripped and restored"
	}
	switch {
	case d.o.hashing != 0 && d.o.symmetric != 0:
		text += ", symmetric RSS by " + rss
	case d.o.hashing != 0:
		text += ", RSS by " + rss + " with the device's own key"
	}
	if d.o.node >= 0 {
		text += fmt.Sprintf(", NUMA node %d", d.o.node)
	}
	return text
}

// rssKey is the key that a device of that key size gets.
func rssKey(size int) []byte {
	key := make([]byte, size)
	C.weir_rss_key((*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(key))), C.int(size))
	return key
}

// A worker's side of a queue.
type receiver struct{ q *C.struct_weir_queue }

// fill receives into b, which the next call takes back, and returns how many frames and their bytes. Sound: the
// frames lie in DPDK's memory pool, which is closed only when nobody is inside the queue's gate, and desc is C memory
// that weir_rx has filled up to n.
func (r receiver) fill(b *port.Burst) (n int, sum uint64) {
	n = int(C.weir_rx(C.uintptr_t(uintptr(unsafe.Pointer(r.q)))))
	if n > port.MaxBurst {
		n = port.MaxBurst // cannot be: WEIR_BURST is as large
	}
	desc := &r.q.desc
	for i := range n {
		d := &desc[i]
		f := &b.Frames[i]
		f.Data = unsafe.Slice((*byte)(d.data), int(d.caplen))
		f.Time = 0
		f.WireLen = uint32(d.pktlen)
	}
	return n, uint64(r.q.sum)
}

// Meta is what the device found out about a frame.
type Meta struct {
	// Hash is the RSS hash, when HasHash.
	Hash    uint32
	HasHash bool
	// Type are DPDK's RTE_PTYPE bits, 0 when the device gave none.
	Type uint32
}

// meta reads frame i of the burst in hand; i is within it.
func (r receiver) meta(i int) Meta {
	m := C.weir_meta(r.q, C.int(i))
	return Meta{Hash: uint32(m.hash), HasHash: m.has_hash != 0, Type: uint32(m.ptype)}
}

// offloads are counts of what the device did for frames of a queue since start; they belong to the worker.
func (r receiver) offloads() (hashed, typed, untagged, chained uint64) {
	return uint64(r.q.hashed), uint64(r.q.typed), uint64(r.q.untagged), uint64(r.q.chained)
}

// unregistered is whether a thread could not be registered with DPDK.
func (r receiver) unregistered() bool { return r.q.failed_register != 0 }
