package wire

import (
	"reflect"
	"testing"
)

// TestLayout: assembly finds the fields of an IP and of the shapes.
func TestLayout(t *testing.T) {
	t.Parallel()
	ip := reflect.TypeFor[IP]()
	for name, at := range map[string]uintptr{
		"Src": srcAt, "Dst": dstAt, "SrcPort": srcPortAt, "DstPort": dstPortAt, "Length": lengthAt, "Version": versionAt,
		"Proto": protoAt, "TCPFlags": tcpFlagsAt, "TTL": ttlAt, "HasPorts": hasPortsAt,
	} {
		if f, ok := ip.FieldByName(name); !ok || f.Offset != at {
			t.Errorf("%s is at %d, want %d", name, f.Offset, at)
		}
	}
	if ip.Size() != ipSize || hasPortsAt+1 != spareAt || reflect.TypeFor[shape]().Size() != 1<<shapeShift {
		t.Errorf("an IP has %d bytes, a shape %d", ip.Size(), reflect.TypeFor[shape]().Size())
	}
}
