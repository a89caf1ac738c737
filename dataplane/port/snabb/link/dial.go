//go:build linux

package link

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long either side waits for the other in the handshake. A reader waits longer, for the library itself waits for
// Snabb's loop.
const (
	patience      = time.Second
	readerWaits   = 2 * patience
	maxRights     = 4 // descriptors that are taken from a message, to be closed
	rightsPerByte = 4
)

// Conn is the reader's end: a device's frames, for as long as both processes live.
type Conn struct {
	// Memory is where the frames are.
	Memory *Memory

	conn *net.UnixConn
	gone atomic.Bool
	wg   sync.WaitGroup
}

// Dial asks the library that listens at socket for the frames of device. It waits at most two seconds. From then on frames are
// put into the memory.
func Dial(socket, device string, g Geometry) (*Conn, error) {
	c, err := net.DialTimeout("unixpacket", socket, patience)
	if err != nil {
		return nil, fmt.Errorf("%w (does snabb firehose run, with weir-firehose.so?)", err)
	}
	conn := c.(*net.UnixConn)
	m, err := ask(conn, request{Version, device, g})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", socket, err), conn.Close())
	}
	r := &Conn{Memory: m, conn: conn}
	r.wg.Go(r.watch)
	return r, nil
}

// ask sends the request and maps what comes back.
func ask(conn *net.UnixConn, r request) (*Memory, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(readerWaits)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(text); err != nil {
		return nil, fmt.Errorf("ask for the frames: %w", err)
	}
	buf, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(maxRights*rightsPerByte))
	n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
	fds := rights(oob[:oobn])
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	if err != nil {
		return nil, fmt.Errorf("wait for an answer: %w", err)
	}
	if err := parseReply(buf[:n]); err != nil {
		return nil, err
	}
	if len(fds) != 1 {
		return nil, fmt.Errorf("%d descriptors came with the answer, not one", len(fds))
	}
	return open(fds[0], r.Geometry)
}

// rights are the descriptors in a control message.
func rights(oob []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if got, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

// watch waits for the connection's end: the library sends nothing more.
func (c *Conn) watch() {
	if err := c.conn.SetDeadline(time.Time{}); err == nil {
		_, _ = c.conn.Read(make([]byte, 1)) // however it ends, it is the end
	}
	c.gone.Store(true)
}

// Gone says that the library closed the connection, or its process ended: no more frames are put in.
func (c *Conn) Gone() bool { return c.gone.Load() }

// Close ends the connection and gives the memory back, which must not be in use.
func (c *Conn) Close() error {
	err := c.conn.Close()
	c.wg.Wait()
	return errors.Join(err, c.Memory.Close())
}
