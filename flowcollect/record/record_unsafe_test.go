package record

import (
	"reflect"
	"testing"
	"unsafe"

	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for c := range NumCodes {
		if n := c.String(); n == "" || seen[n] {
			t.Errorf("code %d: name %q is empty or used twice", c, n)
		} else {
			seen[n] = true
		}
	}
	for _, names := range [][]string{protocolNames[:], kindNames[:], directionNames[:], rateNames[:], timeNames[:]} {
		for i, n := range names {
			if n == "" {
				t.Errorf("%v: number %d has no name", names, i)
			}
		}
	}
	if got := Protocol(200).String() + Code(250).String(); got != "invalidinvalid" {
		t.Errorf("out of range: %q", got)
	}
}

// Records are handed about by the million: nothing in them may be followed by the collector.
func TestRecordIsPointerFree(t *testing.T) {
	var walk func(reflect.Type, string)
	walk = func(ty reflect.Type, path string) {
		switch ty.Kind() {
		case reflect.Struct:
			for i := range ty.NumField() {
				walk(ty.Field(i).Type, path+"."+ty.Field(i).Name)
			}
		case reflect.Array:
			walk(ty.Elem(), path+"[]")
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.String, reflect.Interface, reflect.Chan, reflect.Func, reflect.UnsafePointer:
			t.Errorf("%s is a %v", path, ty.Kind())
		}
	}
	walk(reflect.TypeFor[Record](), "Record")
	sum := uintptr(0)
	for i := range reflect.TypeFor[Record]().NumField() {
		sum += reflect.TypeFor[Record]().Field(i).Type.Size()
	}
	if size := unsafe.Sizeof(Record{}); size != sum {
		t.Errorf("Record is %d bytes, its fields are %d: make the padding explicit", size, sum)
	}
}

func TestScale(t *testing.T) {
	for _, c := range []struct {
		rate float64
		n    uint64
		want uint64
	}{
		{0, 7, 7}, {1, 7, 7}, {10, 150, 1500}, {10.0 / 3, 3, 10}, {2.5, 1, 3}, {1e19, 1e9, 1 << 63},
	} {
		r := Record{SamplingRate: c.rate}
		if got := r.Scale(c.n); got != c.want {
			t.Errorf("%d at 1:%v: got %d, want %d", c.n, c.rate, got, c.want)
		}
	}
}

func TestReverse(t *testing.T) {
	r := Record{
		Src: [16]byte{1}, Dst: [16]byte{2}, SrcPort: 3, DstPort: 4, Input: 5, Output: 6, SrcAS: 7, DstAS: 8, SrcMask: 9, DstMask: 10,
		SrcVLAN: 11, DstVLAN: 12, Has: HasSrc | HasInput | HasPorts, Packets: 13,
	}
	want := Record{
		Src: [16]byte{2}, Dst: [16]byte{1}, SrcPort: 4, DstPort: 3, Input: 6, Output: 5, SrcAS: 8, DstAS: 7, SrcMask: 10, DstMask: 9,
		SrcVLAN: 12, DstVLAN: 11, Has: HasDst | HasOutput | HasPorts, Packets: 13,
	}
	back := r
	r.Reverse()
	if r != want {
		t.Errorf("got %+v", r)
	}
	if r.Reverse(); r != back {
		t.Errorf("twice: got %+v", r)
	}
}

func TestClass(t *testing.T) {
	for _, c := range []struct {
		proto, flags uint8
		fragment     bool
		want         traffic.Class
	}{
		{6, 0x12, false, traffic.ClassTCPSYN},
		{6, 0x10, false, traffic.ClassTCP},
		{17, 0xff, true, traffic.ClassUDPFragment},
		{1, 0, false, traffic.ClassICMP},
		{58, 0, false, traffic.ClassICMP},
		{47, 0, false, traffic.ClassOther},
	} {
		r := Record{Proto: c.proto, TCPFlags: c.flags, Fragment: c.fragment}
		if got := r.Class(); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}

func TestSetIPClearsWhatThePacketLacks(t *testing.T) {
	r := Record{SrcPort: 9, DstPort: 9, ICMPType: 8, Has: HasPorts | HasFlags | HasICMP}
	r.SetIP(&wire.IP{Version: 6, Src: [16]byte{1}, Dst: [16]byte{2}, Proto: 58, Fragment: true})
	if r.Has != HasSrc|HasDst|HasProto|HasTTL || r.ICMPType != 0 || r.SrcPort != 0 || !r.Fragment || r.Proto != 58 {
		t.Errorf("got %+v", r)
	}
	r.SetIP(&wire.IP{Version: 4, Proto: 6, HasPorts: true, SrcPort: 1, DstPort: 2, TCPFlags: 2})
	if r.Has != HasSrc|HasDst|HasProto|HasPorts|HasFlags|HasTTL || r.SrcPort != 1 || r.DstPort != 2 || r.TCPFlags != 2 {
		t.Errorf("got %+v", r)
	}
}

func TestCountReturnsTheFirstTrouble(t *testing.T) {
	var s Stats
	c := s.Count(OK, Withdrawn)
	c = s.Count(c, CountLies)
	c = s.Count(c, SetTooShort)
	if c != CountLies || s.Codes[Withdrawn] != 1 || s.Codes[CountLies] != 1 || s.Codes[SetTooShort] != 1 {
		t.Errorf("got %v, %v", c, s.Codes)
	}
	var sum Stats
	sum.Add(&s)
	sum.Add(&s)
	if sum.Codes[Withdrawn] != 2 {
		t.Errorf("sum %v", sum.Codes)
	}
}
