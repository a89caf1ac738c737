package gen

import (
	"fmt"
	"io"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// WritePcap writes all frames of the scenario to w as a pcap file with nanosecond times and returns the truth about them.
func WritePcap(w io.Writer, s Scenario, opt Options) (Result, error) {
	g, err := New(s)
	if err != nil {
		return Result{}, err
	}
	t, err := NewTruth(g, opt)
	if err != nil {
		return Result{}, err
	}
	out, err := pcapfile.NewWriter(w, wire.LinkEthernet)
	if err != nil {
		return Result{}, err
	}
	var f Frame
	for g.Next(&f) {
		t.Add(&f)
		if err := out.Write(f.Time, uint32(len(f.Data)), f.Data); err != nil {
			return Result{}, fmt.Errorf("write pcap: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return Result{}, fmt.Errorf("write pcap: %w", err)
	}
	return t.Result(), nil
}
