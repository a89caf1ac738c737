package decode

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/weir-ddos/weir/dataplane/pcapfile"
	"github.com/weir-ddos/weir/dataplane/wire"
)

const usage = `usage: weir decode [--json] PCAP...

Prints one line for each packet of the capture files (pcap or pcapng): number, time, code, lengths, source and
destination, protocol, TCP flags, layers. Of a tunnel the innermost addresses are shown, and then the outermost.

  --json   one JSON object a packet
`

// Run executes `weir decode` with the arguments behind the command's name and returns the exit status: 0, 1 when a file could not be
// read to its end (the packets before that are printed), 2 for wrong usage. Options may stand anywhere among the files.
func Run(args []string, stdout, stderr io.Writer) int {
	asJSON, files, err := parse(args)
	if err != nil || len(files) == 0 {
		if err != nil && !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stderr, "weir decode:", err)
		}
		fmt.Fprint(stderr, usage)
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	out := bufio.NewWriterSize(stdout, 64<<10)
	p := printer{out: out, decoder: wire.Decoder{Trace: true}, json: asJSON, many: len(files) > 1}
	status := 0
	for _, f := range files {
		if err := p.file(f); err != nil {
			// Keep the two outputs in order where they are the same terminal.
			_ = out.Flush() // it fails again, and is heard, at the end
			fmt.Fprintln(stderr, "weir decode:", err)
			status = 1
		}
	}
	if err := out.Flush(); err != nil {
		fmt.Fprintln(stderr, "weir decode:", err)
		return 1
	}
	return status
}

func parse(args []string) (asJSON bool, files []string, err error) {
	fs := flag.NewFlagSet("decode", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&asJSON, "json", false, "")
	for {
		if err := fs.Parse(args); err != nil {
			return false, nil, err
		}
		if fs.NArg() == 0 {
			return asJSON, files, nil
		}
		files = append(files, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

// printer prints packets in one of the two forms.
type printer struct {
	out     *bufio.Writer
	decoder wire.Decoder
	headers wire.Headers
	json    bool
	many    bool // several files: name each packet's
}

// file prints every packet of one capture.
func (p *printer) file(path string) error {
	r, err := pcapfile.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	if p.many && !p.json {
		fmt.Fprintf(p.out, "# %s\n", path)
	}
	for n := 1; ; n++ {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: packet %d: %w", path, n, err)
		}
		code := p.decoder.Decode(rec.LinkType, rec.Data, &p.headers)
		if p.json {
			err = p.object(path, n, rec, code)
		} else {
			err = p.line(n, rec, code)
		}
		if err != nil {
			return err
		}
	}
}
