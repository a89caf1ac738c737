package flows

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/collector"
	"github.com/weir-ddos/weir/flowcollect/dataset"
	"github.com/weir-ddos/weir/flowcollect/ipfix"
	"github.com/weir-ddos/weir/flowcollect/netflow"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	"github.com/weir-ddos/weir/flowcollect/sflow"
	"github.com/weir-ddos/weir/flowcollect/template"
)

const usage = `usage: weir flows [--json] [--late] PCAP...
       weir flows [--json] --listen [ADDRESS:]PORT

Prints one line for each flow record in the NetFlow v1, v5, v7, v9, IPFIX and sFlow v2, v4, v5 datagrams of the capture files
(pcap or pcapng; - is standard input), whatever port they were sent to: packets and bytes as exported, and the sampling rate
beside them. Then a summary. What one file says of templates and sampling is known in the next.

  --json     one JSON object a record, and one for the summary
  --late     keeps data that comes before its template, as the collector does, and prints it when the template comes
  --listen   prints what is sent to a UDP port of its own, as it comes, until it is interrupted; may be given several times

What a running appliance receives: tcpdump -i eth0 -U -w - udp port 2055 | weir flows -
`

// Run executes `weir flows` with the arguments behind the command's name and returns the exit status: 0, 1 when a file could not be
// read to its end (what came before is printed), 2 for wrong usage. Options may stand anywhere among the files.
func Run(args []string, stdout, stderr io.Writer) int {
	o, err := parse(args)
	if err == nil && len(o.files) > 0 && len(o.listen) > 0 {
		err = errors.New("either files or --listen")
	}
	if err != nil || len(o.files)+len(o.listen) == 0 {
		if err != nil && !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stderr, "weir flows:", err)
		}
		fmt.Fprint(stderr, usage)
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	out := bufio.NewWriterSize(stdout, 64<<10)
	p, err := newPrinter(out, o)
	if err != nil {
		fmt.Fprintln(stderr, "weir flows:", err)
		return 1
	}
	status := 0
	if len(o.listen) > 0 {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		if err := p.live(ctx, o.listen); err != nil {
			fmt.Fprintln(stderr, "weir flows:", err)
			return 1
		}
	}
	for _, f := range o.files {
		if err := p.file(f); err != nil {
			_ = out.Flush() // keep the two outputs in order where they are the same terminal
			fmt.Fprintln(stderr, "weir flows:", err)
			status = 1
		}
	}
	p.summary()
	if err := errors.Join(p.err, out.Flush()); err != nil {
		fmt.Fprintln(stderr, "weir flows:", err)
		return 1
	}
	return status
}

type options struct {
	json, late    bool
	listen, files []string
}

func parse(args []string) (o options, err error) {
	fs := flag.NewFlagSet("flows", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&o.json, "json", false, "")
	fs.BoolVar(&o.late, "late", false, "")
	fs.Func("listen", "", func(s string) error {
		o.listen, o.late = append(o.listen, s), true
		return nil
	})
	for {
		if err := fs.Parse(args); err != nil {
			return o, err
		}
		if fs.NArg() == 0 {
			return o, nil
		}
		o.files = append(o.files, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

// printer prints records in one of the two forms. It is the decoders' sink.
type printer struct {
	out     *bufio.Writer
	json    bool
	netflow *netflow.Decoder
	ipfix   *ipfix.Decoder
	sflow   *sflow.Decoder
	stats   record.Stats
	// fragments and truncated are UDP datagrams that are not whole in the capture.
	fragments, truncated uint64
	err                  error // of writing
}

func newPrinter(out *bufio.Writer, o options) (*printer, error) {
	tc := template.Default()
	if !o.late {
		tc.HoldSets = 0
	}
	templates, err := template.New(tc)
	if err != nil {
		return nil, err
	}
	rates, err := sampling.New(sampling.Default())
	if err != nil {
		return nil, err
	}
	deps := dataset.Deps{Templates: templates, Sampling: rates, Wire: &wire.Decoder{}}
	return &printer{out: out, json: o.json, netflow: netflow.New(deps), ipfix: ipfix.New(deps), sflow: sflow.New(sflow.Config{Heads: true}, nil)}, nil
}

// file reads every datagram of one capture.
func (p *printer) file(path string) error {
	r, err := open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	for n := 1; ; n++ {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: packet %d: %w", path, n, err)
		}
		d, v := udp(rec.LinkType, rec.Data)
		switch v {
		case notUDP:
			continue
		case isFragment:
			p.fragments++
			continue
		case isTruncated:
			p.truncated++
		}
		p.datagram(&record.Datagram{Exporter: d.src, Arrived: rec.Time, Payload: d.payload})
		if path == stdin && p.err == nil { // somebody may be watching
			p.err = p.out.Flush()
		}
	}
}

// stdin stands for standard input among the files.
const stdin = "-"

func open(path string) (*pcapfile.Reader, error) {
	if path != stdin {
		return pcapfile.Open(path)
	}
	r, err := pcapfile.NewReader(os.Stdin)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return r, nil
}

// datagram decodes one.
func (p *printer) datagram(dg *record.Datagram) {
	switch collector.Detect(dg.Payload) {
	case collector.IsSFlow:
		p.sflow.Decode(dg, &p.stats, p)
	case collector.IsIPFIX:
		p.ipfix.Decode(dg, &p.stats, p)
	default: // what is nothing at all has its code there
		p.netflow.Decode(dg, &p.stats, p)
	}
}

// Record implements record.Sink.
func (p *printer) Record(r *record.Record) {
	if p.err != nil {
		return
	}
	if p.json {
		p.err = p.object(r)
	} else {
		p.err = p.line(r)
	}
}
