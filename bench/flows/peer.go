package flows

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"github.com/netsampler/goflow2/v2/decoders/netflow"
	"github.com/netsampler/goflow2/v2/decoders/netflowlegacy"
	"github.com/netsampler/goflow2/v2/decoders/sflow"
	"github.com/netsampler/goflow2/v2/producer"
	protoproducer "github.com/netsampler/goflow2/v2/producer/proto"
	"golang.org/x/sys/unix"
)

// peer is goflow2 v2.2.6, used as its own collector does.
type peer struct {
	templates netflow.NetFlowTemplateSystem
	producer  producer.ProducerInterface
	args      producer.ProduceArgs
}

func newPeer(s *stream) (*peer, error) {
	cfg, err := (&protoproducer.ProducerConfig{}).Compile()
	if err != nil {
		return nil, err
	}
	p, err := protoproducer.CreateProtoProducer(cfg, protoproducer.CreateSamplingSystem)
	if err != nil {
		return nil, err
	}
	from := netip.AddrPortFrom(netip.AddrFrom16(exporter), 2055)
	x := &peer{
		templates: netflow.CreateTemplateSystem(), producer: p,
		args: producer.ProduceArgs{Src: from, SamplerAddress: from.Addr(), TimeReceived: time.Unix(clock, 0)},
	}
	if s.first != nil {
		_, err = x.decode(s.protocol, s.first, true)
	}
	return x, err
}

// decode returns how many records the producer made, 0 without it.
func (p *peer) decode(protocol Protocol, payload []byte, produce bool) (int, error) {
	var msg any
	var err error
	b := bytes.NewBuffer(payload)
	switch protocol {
	case NetFlow5:
		m := new(netflowlegacy.PacketNetFlowV5)
		msg, err = m, netflowlegacy.DecodeMessageVersion(b, m)
	case NetFlow9:
		m := new(netflow.NFv9Packet)
		msg, err = m, netflow.DecodeMessageVersion(b, p.templates, m, nil)
	case IPFIX:
		m := new(netflow.IPFIXPacket)
		msg, err = m, netflow.DecodeMessageVersion(b, p.templates, nil, m)
	case SFlow:
		m := new(sflow.Packet)
		msg, err = m, sflow.DecodeMessageVersion(b, m)
	}
	if err != nil || !produce {
		return 0, err
	}
	list, err := p.producer.Produce(msg, &p.args)
	if err == nil {
		p.producer.Commit(list)
	}
	return len(list), err
}

// epoch decodes some records and returns nanoseconds a record: of the whole process, since what it allocates is collected on other threads.
func (p *peer) epoch(s *stream, records int, produce bool) (float64, error) {
	n, made := 0, 0
	runtime.GC() // not ours to pay
	begin := cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID)
	for ; n < records; n += s.records() {
		s.next()
		k, err := p.decode(s.protocol, s.payload, produce)
		if err != nil {
			return 0, fmt.Errorf("goflow2: %s: %w", s.protocol, err)
		}
		made += k
	}
	ns := float64(cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID)-begin) / float64(n)
	if produce && made != n {
		return 0, fmt.Errorf("goflow2: %s: %d records of %d", s.protocol, made, n)
	}
	return ns, nil
}
