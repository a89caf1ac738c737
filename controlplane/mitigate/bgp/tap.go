package bgp

import (
	"context"
	"log/slog"
	"sync/atomic"

	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// tap is the log handler that a session's GoBGP gets. It passes on warnings, and it listens for what GoBGP says nowhere else:
// why a session that was not up yet failed (a refused OPEN, a refused connection). The texts are those of v4.8; a test
// against a real router fails when an update changes them.
type tap struct {
	slog.Handler
	// established mutes what is said per message: there is nothing to listen for while the session is up.
	established *atomic.Bool
	// notify takes a notification, dialed the reason why a connection failed.
	notify func(notification)
	dialed func(reason string)
}

// Enabled implements slog.Handler.
func (h *tap) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l) || l >= slog.LevelInfo || !h.established.Load()
}

// Handle implements slog.Handler.
func (h *tap) Handle(ctx context.Context, r slog.Record) error {
	switch r.Message {
	case "sent notification":
		h.notify(readNotification("notification-sent ", &r))
	case "received notification":
		n := readNotification("notification-received ", &r)
		n.received = true
		h.notify(n)
	case "failed to connect":
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "Error" {
				h.dialed(a.Value.String())
			}
			return true
		})
	}
	if r.Level < slog.LevelWarn {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// notification is a BGP NOTIFICATION message (RFC 4271 section 4.5).
type notification struct {
	received  bool // by us, rather than sent
	code, sub uint8
	text      string
}

// readNotification puts a logged notification into the words that GoBGP's events use, and adds what the other side wrote
// (RFC 9003).
func readNotification(what string, r *slog.Record) (n notification) {
	said := ""
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "Code":
			n.code = uint8(a.Value.Int64())
		case "Subcode":
			n.sub = uint8(a.Value.Int64())
		case "Communicated-Reason":
			said = a.Value.String()
		}
		return true
	})
	n.text = what + gobgp.NewNotificationErrorCode(n.code, n.sub).String()
	if said != "" {
		n.text += ": " + said
	}
	return n
}

// WithAttrs implements slog.Handler.
func (h *tap) WithAttrs(a []slog.Attr) slog.Handler {
	c := *h
	c.Handler = h.Handler.WithAttrs(a)
	return &c
}

// WithGroup implements slog.Handler.
func (h *tap) WithGroup(n string) slog.Handler {
	c := *h
	c.Handler = h.Handler.WithGroup(n)
	return &c
}
