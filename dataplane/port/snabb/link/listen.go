//go:build linux

package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Source is who has the frames. Its methods are called by goroutines of the Server, for one device by one at a time.
type Source interface {
	// Devices names the devices that there are.
	Devices() []string
	// Attach has the frames of a device put into m from now on, whose OffMissed it writes. It returns when that is so, within
	// a second or with an error, after which m is not touched.
	Attach(device string, m *Memory) error
	// Detach ends it. It waits until m is not touched any more, or until quit is closed, and says whether it was the first.
	Detach(device string, quit <-chan struct{}) bool
}

// Server is the library's end: it gives memory to whoever asks.
type Server struct {
	src      Source
	instance uint64
	listener *net.UnixListener
	quit     chan struct{}
	wg       sync.WaitGroup

	mu    sync.Mutex // guards the rest
	conns map[*net.UnixConn]struct{}
	busy  map[string]chan struct{} // closed when the device's reader was released
}

// maxConns bounds the connections at a time; there is one for each device that is read.
const maxConns = 256

// Listen serves src at a socket, which only this user and root may connect to. instance tells this process from others. A socket
// that a dead process left is replaced; one that is served is an error.
func Listen(socket string, src Source, instance uint64) (*Server, error) {
	if c, err := net.DialTimeout("unixpacket", socket, patience); err == nil {
		return nil, errors.Join(fmt.Errorf("%s: another process listens there", socket), c.Close())
	} else if info, gone := os.Lstat(socket); gone == nil && info.Mode()&os.ModeSocket != 0 && errors.Is(err, unix.ECONNREFUSED) {
		if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("replace a dead socket: %w", err)
		}
	}
	l, err := (&net.ListenConfig{Control: private}).Listen(context.Background(), "unixpacket", socket)
	if err != nil {
		return nil, err
	}
	s := &Server{
		src: src, instance: instance, listener: l.(*net.UnixListener), quit: make(chan struct{}),
		conns: map[*net.UnixConn]struct{}{}, busy: map[string]chan struct{}{},
	}
	s.wg.Go(s.accept)
	return s, nil
}

// private sets the mode that the socket's file will have, before it exists.
func private(_, _ string, c syscall.RawConn) error {
	var err error
	return errors.Join(c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }), err)
}

// Close ends all connections. It waits for a Source that cannot detach for a second only.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close() // wakes its goroutine
	}
	s.conns = nil
	s.mu.Unlock()
	t := time.AfterFunc(patience, func() { close(s.quit) })
	s.wg.Wait()
	t.Stop()
	return err
}

// add says whether one more connection is welcome.
func (s *Server) add(c *net.UnixConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil || len(s.conns) >= maxConns {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c *net.UnixConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *Server) accept() {
	for {
		c, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, or the peer went
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if !s.add(c) {
			_ = c.Close()
			continue
		}
		s.wg.Go(func() {
			s.serve(c)
			s.remove(c)
			_ = c.Close()
		})
	}
}

// serve handles one connection to its end.
func (s *Server) serve(c *net.UnixConn) {
	r, err := receive(c)
	if err == nil {
		err = s.reserve(r.Device)
	}
	if err != nil {
		refuse(c, err)
		return
	}
	if s.feed(c, r) {
		s.release(r.Device)
	}
}

// receive reads the request.
func receive(c *net.UnixConn) (request, error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return request{}, err
	}
	buf := make([]byte, maxMessage+1)
	n, err := c.Read(buf)
	if err != nil {
		return request{}, fmt.Errorf("wait for a request: %w", err)
	}
	return parseRequest(buf[:n])
}

// refuse tells the reader why. What can be said is cut to what it reads.
func refuse(c *net.UnixConn, err error) {
	text := err.Error()
	_ = send(c, reply{Version: Version, Error: text[:min(len(text), 512)]}, nil) // it will see the connection's end at least
}

func send(c *net.UnixConn, r reply, oob []byte) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, _, err = c.WriteMsgUnix(text, oob, nil)
	return err
}

// releasedWithin is how long a reader waits for the one before it to be released: that takes no more than a poll of Snabb's.
const releasedWithin = patience / 2

// reserve makes the caller the device's only reader.
func (s *Server) reserve(device string) error {
	known := s.src.Devices()
	switch {
	case len(known) == 0:
		return errors.New("no NIC was polled by Snabb yet")
	case !slices.Contains(known, device):
		return fmt.Errorf("there is no %s, only %s", device, strings.Join(known, ", "))
	}
	late := time.NewTimer(releasedWithin)
	defer late.Stop()
	for {
		released := s.tryReserve(device)
		if released == nil {
			return nil
		}
		select {
		case <-released:
		case <-late.C:
			return fmt.Errorf("%s has a reader, or its last one is not yet released because Snabb does not poll", device)
		}
	}
}

// tryReserve returns nil, or what will be closed when it can be tried again.
func (s *Server) tryReserve(device string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if released, busy := s.busy[device]; busy {
		return released
	}
	s.busy[device] = make(chan struct{})
	return nil
}

func (s *Server) release(device string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.busy[device])
	delete(s.busy, device)
}

// feed gives the reader its memory and waits until it goes. It returns false when the memory had to stay.
func (s *Server) feed(c *net.UnixConn, r request) bool {
	m, fd, err := create(r.Geometry, s.instance)
	if err != nil {
		refuse(c, err)
		return true
	}
	err = s.src.Attach(r.Device, m)
	if err != nil {
		refuse(c, err)
		_, _ = unix.Close(fd), m.Close()
		return true
	}
	err = send(c, reply{Version: Version}, unix.UnixRights(fd))
	_ = unix.Close(fd)
	if err == nil && c.SetDeadline(time.Time{}) == nil {
		_, _ = c.Read(make([]byte, 1)) // readers say nothing more: whatever ends this is the end
	}
	if !s.src.Detach(r.Device, s.quit) {
		return false
	}
	_ = m.Close()
	return true
}
