//go:build snabb && linux

package snabbtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/snabb/link"
)

// built is where TestMain built the library and the program that loads it; missing says why it could not.
var built, missing string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if _, err := exec.LookPath("gcc"); err != nil {
		missing = "gcc is needed to build the library and the program that loads it"
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "weir-snabbtest")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	built = dir
	for _, args := range [][]string{
		{"go", "build", "-tags", "snabb", "-buildmode=c-shared", "-o", library(), "../firehose"},
		{"gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", filepath.Join(dir, "harness"), "testdata/harness.c", "-ldl"},
		{"gcc", "-O1", "-g", "-Wall", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-o", filepath.Join(dir, "ring"), "testdata/ring.c"},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Printf("%s: %v\n%s", strings.Join(args, " "), err, out)
			return 1
		}
	}
	return m.Run()
}

func library() string { return filepath.Join(built, "weir-firehose.so") }

// nic is the NIC that most tests use.
const nic = "0000:03:00.0"

// process is a program that loaded the library, as Snabb would be.
type process struct {
	socket string
	nics   []string
	ring   int

	mu  sync.Mutex // one command at a time; guards the rest
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
	err said
}

// said is what the process wrote to standard error.
type said struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// talk sends text to the library as a reader's request and returns the answer.
func (p *process) talk(tb testing.TB, text string) string {
	tb.Helper()
	c, err := net.DialTimeout("unixpacket", p.socket, porttest.Patience)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte(text)); err != nil {
		tb.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(porttest.Patience))
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		tb.Errorf("no answer to %.40q: %v", text, err)
	}
	return string(b[:n])
}

// start runs a process with rings of so many descriptors. It ends with the test.
func start(tb testing.TB, ring int, nics ...string) *process {
	tb.Helper()
	if missing != "" {
		tb.Skip(missing)
	}
	p := &process{socket: filepath.Join(socketDir(tb), "s"), nics: nics, ring: ring}
	tb.Cleanup(func() {
		_ = p.kill()
		if tb.Failed() {
			tb.Log(p.err.String())
		}
	})
	if err := p.run(); err != nil {
		tb.Fatal(err)
	}
	return p
}

// socketDir is a directory of the test with a name that is short enough for a socket.
func socketDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "weir-snabb")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// run starts the program.
func (p *process) run() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	args := append([]string{library(), strconv.Itoa(p.ring)}, p.nics...)
	p.cmd = exec.Command(filepath.Join(built, "harness"), args...)
	p.cmd.Env = append(os.Environ(), "WEIR_SNABB_SOCKET="+p.socket)
	p.cmd.Stderr = &p.err
	in, err1 := p.cmd.StdinPipe()
	out, err2 := p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, p.cmd.Start()); err != nil {
		return err
	}
	p.in, p.out = in, out
	if _, err := p.answer(); err != nil {
		return err
	}
	return p.polled()
}

// polled waits until the library listens and knows every NIC.
func (p *process) polled() error {
	for deadline := time.Now().Add(porttest.Patience); ; time.Sleep(time.Millisecond) {
		c, err := link.Dial(p.socket, "none", link.Geometry{Queues: 1, Slots: link.MinSlots, Data: link.MinData, Snap: link.MinSnap})
		if err == nil {
			return errors.Join(errors.New("there is a NIC called none"), c.Close())
		}
		if strings.Contains(err.Error(), strings.Join(p.nics, ", ")) {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// kill ends it as a crash would.
func (p *process) kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	err := p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it was killed
	p.cmd = nil
	return err
}

func (p *process) answer() (uint64, error) {
	var b [8]byte
	if _, err := io.ReadFull(p.out, b[:]); err != nil {
		return 0, fmt.Errorf("the process is gone: %w", err)
	}
	return binary.NativeEndian.Uint64(b[:]), nil
}

// command is struct command of harness.c.
func command(what byte, nic int, size uint16, count, burst uint32) []byte {
	ne := binary.NativeEndian
	b := ne.AppendUint16([]byte{what, byte(nic)}, size)
	return ne.AppendUint32(ne.AppendUint32(b, count), burst)
}

// do sends a command and reads as many answers as it has.
func (p *process) do(b []byte, answers int) (got []uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil, errors.New("the process is gone")
	}
	if _, err := p.in.Write(b); err != nil {
		return nil, err
	}
	for range answers {
		v, err := p.answer()
		if err != nil {
			return nil, err
		}
		got = append(got, v)
	}
	return got, nil
}

// order does what has one answer of no interest.
func (p *process) order(what byte) error {
	_, err := p.do(command(what, 0, 0, 0, 0), 1)
	return err
}

// send makes frames come in at a NIC. It returns when the library had them.
func (p *process) send(nic int, frames [][]byte) (int, error) { return p.sendTagged(nic, frames, nil) }

// sendTagged is send of frames whose tag the NIC took out, where it is not 0.
func (p *process) sendTagged(nic int, frames [][]byte, tags []uint16) (int, error) {
	b := command('F', nic, 0, uint32(len(frames)), 0)
	for i, f := range frames {
		var tag uint16
		if tags != nil {
			tag = tags[i]
		}
		b = binary.NativeEndian.AppendUint16(b, uint16(len(f)))
		b = binary.NativeEndian.AppendUint16(b, tag)
		b = append(b, f...)
	}
	got, err := p.do(b, 1)
	if err != nil {
		return 0, err
	}
	return int(got[0]), nil
}

// config opens a NIC of the process.
func (p *process) config(nic string, queues int, options map[string]any) port.Config {
	all := map[string]any{"socket": p.socket, "memory": 2048}
	for k, v := range options {
		all[k] = v
	}
	return port.Config{Driver: "snabb", Device: nic, Queues: queues, Options: all}
}

// live completes a process for the conformance suite.
func (p *process) live() porttest.Device {
	return porttest.Device{
		Config: p.config(nic, 0, nil),
		Send:   func(frames [][]byte) (int, error) { return p.send(0, frames) },
		Exact:  true, Shallow: map[string]any{"slots": 64},
		Remove: p.kill, Restore: p.run,
		Down: func() error { return p.order('H') },
		Up:   func() error { return p.order('G') },
	}
}

// open opens a NIC for the length of a test.
func (p *process) open(tb testing.TB, cfg port.Config) port.Port {
	tb.Helper()
	opened, err := port.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = opened.Close() })
	return opened
}
