package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// DefaultSocket is where the appliance listens unless it is configured otherwise.
const DefaultSocket = "/run/weir/api.sock"

// maxAnswer bounds what is read from the appliance; 10,000 hosts take about 10 MB.
const maxAnswer = 64 << 20

// answer is the API's envelope.
type answer struct {
	Success  bool            `json:"success"`
	Error    string          `json:"error_text"`
	Problems []problem       `json:"problems"`
	Values   json.RawMessage `json:"values"`
	Value    json.RawMessage `json:"value"`
	Object   json.RawMessage `json:"object"`
	Message  string          `json:"message"`
	Warning  string          `json:"warning"`

	raw []byte
}

type problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Path    string `json:"path"`
	Message string `json:"message"`
}

// client talks to one appliance.
type client struct {
	socket string
	http   *http.Client
}

func newClient(socket string) *client {
	c := &client{socket: socket}
	c.http = &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	return c
}

// ask sends words as a path. The query is for GET; the body for import.
func (c *client) ask(method string, words []string, query url.Values, body io.Reader) (*answer, error) {
	escaped := make([]string, len(words))
	for i, w := range words {
		escaped[i] = url.PathEscape(w)
	}
	target := "http://weir/" + strings.Join(escaped, "/")
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequest(method, target, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.explain(err)
	}
	a := &answer{raw: text}
	if err := json.Unmarshal(text, a); err != nil {
		return nil, fmt.Errorf("%s does not answer as an appliance does: %w", c.socket, err)
	}
	return a, nil
}

// explain says what to do about an appliance that cannot be reached.
func (c *client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no appliance at %s; start it with `systemctl start weir`, or name its socket with --socket or WEIR_SOCKET", c.socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no appliance answers at %s, it has stopped or crashed; see `systemctl status weir` and `journalctl -u weir`", c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be opened; run this as root or as a member of the appliance's api.read_group", c.socket)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the appliance at %s closed the connection; too many at once, or it is stopping", c.socket)
	}
	return fmt.Errorf("asking the appliance at %s: %w", c.socket, err)
}
