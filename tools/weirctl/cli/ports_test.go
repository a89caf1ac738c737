package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// A device of DPDK goes by its name in tables; its arguments stand once.
func TestDPDKDevicesByName(t *testing.T) {
	t.Parallel()
	for driver, want := range map[string][]string{
		"dpdk":   {"\nnet_null0  dpdk", "\nnet_null0: net_null0,size=64;", "\nnet_null0/1  "},
		"replay": {"\nnet_null0,size=64  replay", "\nnet_null0,size=64/1  "},
	} {
		values, err := json.Marshal([]map[string]any{{
			"device": "net_null0,size=64", "driver": driver, "mode": "m", "queues": []map[string]any{{"received": 1}, {"received": 2}},
			"extra": map[string]uint64{"ipackets": 3},
		}})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		s := &session{out: &out}
		if err := s.printPorts(&answer{Values: values}); err != nil {
			t.Fatal(err)
		}
		for _, text := range want {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%s: no %q in\n%s", driver, text, out.String())
			}
		}
	}
}
