package bgp

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/weir-ddos/weir/controlplane/mitigate"
)

// protocolVersion is raised with every incompatible change of the messages. An appliance that finds a speaker of another
// version replaces it, gracefully.
const protocolVersion = 1

// maxMessage bounds a message, bytes: about 100,000 mitigations.
const maxMessage = 64 << 20

// The operations. All but opStatus need the connection to be in charge, which opHello makes it, taking over from the
// connection that was.
const (
	opHello     = "hello"
	opConfigure = "configure"
	opReconcile = "reconcile"
	opStatus    = "status"
	opShutdown  = "shutdown"
)

// request is one message from the appliance: four bytes of length, big-endian, then JSON.
type request struct {
	ID uint64 `json:"id"`
	Op string `json:"op"`
	// PID is the appliance's, in a hello.
	PID    int                   `json:"pid,omitempty"`
	Config *Config               `json:"config,omitempty"`
	Want   []mitigate.Mitigation `json:"want,omitempty"`
	// Graceful asks a shutdown to leave the routes with the routers.
	Graceful bool `json:"graceful,omitempty"`
}

// response answers the request with the same ID. An ID of 0 is the speaker's own word before it hangs up.
type response struct {
	ID     uint64  `json:"id"`
	Err    string  `json:"err,omitempty"`
	Hello  *hello  `json:"hello,omitempty"`
	Result *result `json:"result,omitempty"`
	Status *status `json:"status,omitempty"`
}

type hello struct {
	Version int `json:"version"`
	PID     int `json:"pid"`
}

// superseded is what the speaker tells the connection that has lost charge.
const superseded = "another appliance has taken charge of the speaker"

func writeMessage(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > maxMessage {
		return fmt.Errorf("message of %d bytes is over %d", len(b), maxMessage)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b)))
	_, err = w.Write(append(frame, b...))
	return err
}

func readMessage(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessage {
		return fmt.Errorf("message of %d bytes is over %d", n, maxMessage)
	}
	// Read through a limit rather than into a buffer of n bytes: a hostile length allocates nothing by itself.
	b, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return err
	}
	if len(b) != int(n) {
		return io.ErrUnexpectedEOF
	}
	if err := json.Unmarshal(b, v); err != nil {
		return errors.Join(errors.New("message is not as agreed"), err)
	}
	return nil
}
