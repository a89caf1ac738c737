package versus

import (
	"bytes"
	"os"
	"testing"

	"github.com/cilium/ebpf"
)

// TestMicrocode: a loader reads the object file, and the kernel takes the program.
func TestMicrocode(t *testing.T) {
	t.Parallel()
	file, err := microcode()
	if err != nil {
		t.Fatal(err)
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	p, sockets, queues := spec.Programs["xdp_program"], spec.Maps["xsks_map"], spec.Maps["qidconf_map"]
	if p == nil || p.Type != ebpf.XDP || p.License != "Apache-2.0" || len(p.Instructions) != 5 || p.Instructions[1].Reference() != "xsks_map" {
		t.Fatalf("%+v", p)
	}
	if sockets == nil || sockets.Type != ebpf.XSKMap || sockets.KeySize != 4 || sockets.ValueSize != 4 || sockets.MaxEntries != 64 {
		t.Errorf("%+v", sockets)
	}
	if queues == nil || queues.Type != ebpf.Array || queues.MaxEntries != 64 {
		t.Errorf("%+v", queues)
	}
	if os.Geteuid() != 0 {
		t.Skip("root (CAP_BPF) is needed to load it")
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
