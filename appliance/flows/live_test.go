package flows

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/flowcollect/listen/freeport"
)

// Live, a record is printed when it comes, and the summary when it ends.
func TestLive(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"127.0.0.1", "::1"} {
		free, err := freeport.UDP(netip.MustParseAddr(at))
		if err != nil {
			t.Skipf("no %s here: %v", at, err)
		}
		address := free.String()
		c, err := net.ListenPacket("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		held, err := newPrinter(bufio.NewWriter(io.Discard), options{late: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := held.live(t.Context(), []string{address}); err == nil || !strings.Contains(err.Error(), "tcpdump") {
			t.Errorf("a port that is held: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		read, write := io.Pipe()
		p, err := newPrinter(bufio.NewWriter(write), options{late: true})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		done := make(chan error, 1)
		go func() {
			err := p.live(ctx, []string{address})
			_ = write.CloseWithError(err)
			done <- err
		}()
		lines := bufio.NewScanner(read)
		conn, err := net.Dial("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan string, 1)
		go func() {
			if lines.Scan() {
				got <- lines.Text()
			}
			for lines.Scan() { // what is sent again
			}
			close(got)
		}()
		line := ""
		for line == "" { // it may not listen yet
			_, _ = conn.Write(v5datagram())
			select {
			case line = <-got:
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				t.Fatal("nothing was printed")
			}
		}
		if !strings.HasPrefix(line, at+" netflow5 192.0.2.1:1234 > 10.0.0.1:53 proto 17, 3 packets, 300 bytes, 1:10") {
			t.Errorf("%s: %q", at, line)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = conn.Close()
	}
}

// v5datagram is one record: UDP from 192.0.2.1:1234 to 10.0.0.1:53, 1:10.
func v5datagram() []byte {
	b := make([]byte, 24+48)
	copy(b, []byte{0, 5, 0, 1})
	copy(b[22:], []byte{0x40, 10})
	r := b[24:]
	copy(r, []byte{192, 0, 2, 1, 10, 0, 0, 1})
	r[19], r[22], r[23] = 3, 1, 44
	copy(r[32:], []byte{4, 210, 0, 53})
	r[38] = 17
	return b
}

func TestListenUsage(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if code := Run([]string{"--listen", "2055", "x.pcap"}, &out, &errs); code != 2 || !strings.Contains(errs.String(), "either files or --listen") {
		t.Errorf("%d %s", code, errs.String())
	}
	errs.Reset()
	if code := Run([]string{"--listen", "nowhere:x"}, &out, &errs); code != 1 || errs.Len() == 0 {
		t.Errorf("%d %s", code, errs.String())
	}
}

// A capture on standard input.
func TestStdin(t *testing.T) {
	f, err := os.Open(shared(t) + "/generated/sf-v9.pcap")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	old := os.Stdin
	os.Stdin = f
	defer func() { os.Stdin = old }()
	if r := run(t, "-"); len(r.records) != 96 || r.total.Records != 96 {
		t.Errorf("%+v", r.total)
	}
}
