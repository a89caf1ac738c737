package link

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// DefaultSocket is where the library listens when nothing else is said.
const DefaultSocket = "/run/weir-firehose.sock"

// maxMessage bounds what either side sends and reads.
const maxMessage = 4096

// request is the reader's one message.
type request struct {
	Version  int      `json:"version"`
	Device   string   `json:"device"`
	Geometry Geometry `json:"geometry"`
}

// reply is the answer. Without Error it comes with the memory's file descriptor.
type reply struct {
	Version int    `json:"version"`
	Error   string `json:"error,omitempty"`
}

// CheckDevice says what is wrong with a device name: it is the PCI address as it was given to snabb firehose -i.
func CheckDevice(name string) error {
	switch {
	case name == "":
		return errors.New("must be set")
	case len(name) > 63:
		return fmt.Errorf("%q is longer than 63 characters", name)
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return fmt.Errorf("%q is not a PCI address", name)
	}
	return nil
}

// parseRequest reads a request from anybody and checks it.
func parseRequest(b []byte) (request, error) {
	var r request
	if err := unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("the request makes no sense: %w", err)
	}
	if r.Version != Version {
		return r, fmt.Errorf("the appliance speaks version %d, this library %d: use those of one release", r.Version, Version)
	}
	if err := CheckDevice(r.Device); err != nil {
		return r, fmt.Errorf("device: %w", err)
	}
	return r, r.Geometry.Validate()
}

// parseReply reads the library's answer and returns its error as ours.
func parseReply(b []byte) error {
	var r reply
	if err := unmarshal(b, &r); err != nil {
		return fmt.Errorf("the answer makes no sense: %w", err)
	}
	switch {
	case r.Error != "":
		return fmt.Errorf("the library says %q", r.Error)
	case r.Version != Version:
		return fmt.Errorf("the library speaks version %d, this appliance %d: use those of one release", r.Version, Version)
	}
	return nil
}

// unmarshal reads exactly one JSON object. Fields that a later version adds are no error, so that versions can be compared.
func unmarshal(b []byte, into any) error {
	if len(b) > maxMessage {
		return errors.New("it is too long")
	}
	if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '{' {
		return errors.New("it is no JSON object")
	}
	return json.Unmarshal(b, into)
}
