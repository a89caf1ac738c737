package oracle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/netsampler/goflow2/v2/decoders/netflow"
	"github.com/netsampler/goflow2/v2/decoders/netflowlegacy"
	"github.com/netsampler/goflow2/v2/decoders/sflow"
	"github.com/netsampler/goflow2/v2/producer"
	protoproducer "github.com/netsampler/goflow2/v2/producer/proto"
)

// flow is one record as goflow2's producer gives it.
type flow struct {
	Src, Dst         []byte
	SrcPort, DstPort uint32
	Proto, Flags     uint32
	TOS              uint32
	Input, Output    uint32
	SrcAS, DstAS     uint32
	Bytes, Packets   uint64
	Rate             uint64
	// Fields are the information elements of the record, without enterprise ones; sFlow: the formats of the sample's records.
	Fields []uint16
}

// goflow is goflow2 with one template system per exporter.
type goflow struct {
	templates map[[16]byte]netflow.NetFlowTemplateSystem
	producer  producer.ProducerInterface
}

func newGoflow() *goflow {
	cfg, err := (&protoproducer.ProducerConfig{}).Compile()
	if err != nil {
		panic(err) // in the child: the parent sees it end
	}
	p, err := protoproducer.CreateProtoProducer(cfg, protoproducer.CreateSamplingSystem)
	if err != nil {
		panic(err)
	}
	return &goflow{templates: map[[16]byte]netflow.NetFlowTemplateSystem{}, producer: p}
}

// decode decodes as goflow2's own collector does, but keeps what was decoded before an error.
func (g *goflow) decode(q *request) response {
	ts := g.templates[q.Exporter]
	if ts == nil {
		ts = netflow.CreateTemplateSystem()
		g.templates[q.Exporter] = ts
	}
	var (
		r      response
		msg    any
		err    error
		fields [][]uint16
	)
	b := bytes.NewBuffer(q.Payload)
	switch version(q.Payload) {
	case 5:
		var p netflowlegacy.PacketNetFlowV5
		err = netflowlegacy.DecodeMessageVersion(b, &p)
		msg = &p
	case 9:
		var p netflow.NFv9Packet
		var none netflow.IPFIXPacket
		err = netflow.DecodeMessageVersion(b, ts, &p, &none)
		p.FlowSets, fields = r.sets(p.FlowSets)
		msg = &p
	case 10:
		var p netflow.IPFIXPacket
		var none netflow.NFv9Packet
		err = netflow.DecodeMessageVersion(b, ts, &none, &p)
		p.FlowSets, fields = r.sets(p.FlowSets)
		msg = &p
	case sflow5:
		var p sflow.Packet
		err = sflow.DecodeMessageVersion(b, &p)
		fields = formats(&p)
		msg = &p
	default:
		r.Error = "version"
		return r
	}
	if r.Missing = errors.Is(err, netflow.ErrorTemplateNotFound); err != nil && !onlyMissing(err) {
		r.Error = err.Error()
	}
	from := netip.AddrPortFrom(netip.AddrFrom16(q.Exporter), 2055)
	list, err := g.producer.Produce(msg, &producer.ProduceArgs{Src: from, SamplerAddress: from.Addr(), TimeReceived: time.Unix(1_700_000_000, 0)})
	if err != nil {
		r.Error = "producer: " + err.Error()
	}
	for i, m := range list {
		p, ok := m.(*protoproducer.ProtoProducerMessage)
		if !ok {
			r.Error = fmt.Sprintf("producer: a %T", m)
			return r
		}
		f := flow{
			Src: p.SrcAddr, Dst: p.DstAddr, SrcPort: p.SrcPort, DstPort: p.DstPort, Proto: p.Proto, Flags: p.TcpFlags, TOS: p.IpTos,
			Input: p.InIf, Output: p.OutIf, SrcAS: p.SrcAs, DstAS: p.DstAs, Bytes: p.Bytes, Packets: p.Packets, Rate: p.SamplingRate,
		}
		if len(fields) == len(list) {
			f.Fields = fields[i]
		}
		r.Flows = append(r.Flows, f)
	}
	return r
}

// onlyMissing says that every error of a datagram is a missing template: goflow2 goes on after those.
func onlyMissing(err error) bool {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			if !errors.Is(e, netflow.ErrorTemplateNotFound) {
				return false
			}
		}
		return true
	}
	return errors.Is(err, netflow.ErrorTemplateNotFound)
}

// sets counts what is in flow sets, drops nil ones (the producer would not mind), and lists the fields of every data record.
func (r *response) sets(sets []any) (kept []any, fields [][]uint16) {
	for _, s := range sets {
		switch s := s.(type) {
		case netflow.DataFlowSet:
			for _, rec := range s.Records {
				var types []uint16
				for _, f := range rec.Values {
					if !f.PenProvided {
						types = append(types, f.Type)
					}
				}
				fields = append(fields, types)
			}
		case netflow.OptionsDataFlowSet:
			r.Options += len(s.Records)
		case netflow.TemplateFlowSet:
			r.Templates += len(s.Records)
		case netflow.NFv9OptionsTemplateFlowSet:
			r.Templates += len(s.Records)
		case netflow.IPFIXOptionsTemplateFlowSet:
			r.Templates += len(s.Records)
		case nil:
			continue
		}
		kept = append(kept, s)
	}
	return kept, fields
}

// formats lists the formats of every flow sample's records.
func formats(p *sflow.Packet) (out [][]uint16) {
	for _, s := range p.Samples {
		var records []sflow.FlowRecord
		switch s := s.(type) {
		case sflow.FlowSample:
			records = s.Records
		case sflow.ExpandedFlowSample:
			records = s.Records
		default:
			continue
		}
		list := []uint16{}
		for _, rec := range records {
			if rec.Header.DataFormat < 1<<16 {
				list = append(list, uint16(rec.Header.DataFormat))
			}
		}
		out = append(out, list)
	}
	return out
}

// What version returns for sFlow, apart from NetFlow's numbers.
const (
	sflow2 = 1002
	sflow4 = 1004
	sflow5 = 1005
)

// known says that goflow2 reads a version.
func known(version int) bool { return slices.Contains([]int{5, 9, 10, sflow5}, version) }

// version is a datagram's protocol: NetFlow's version, 1000 and sFlow's version, or 0.
func version(b []byte) int {
	if len(b) < 4 {
		return 0
	}
	if v := binary.BigEndian.Uint16(b); v != 0 {
		return int(v)
	}
	return 1000 + int(binary.BigEndian.Uint32(b))
}
