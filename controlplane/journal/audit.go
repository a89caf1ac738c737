package journal

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	bolt "go.etcd.io/bbolt"
)

// Entry is one thing that happened: who did what to what, and when.
type Entry struct {
	// Seq orders the entries; Audit sets it.
	Seq uint64 `json:"seq"`
	// Time is when; Audit sets it when it is zero.
	Time time.Time `json:"time"`
	// Who is a user ("uid 1000, pid 4242") or a part of the appliance ("planner").
	Who string `json:"who"`
	// What is a short verb: commit, block, withdraw, kill_switch, ban, unban, refused, ...
	What string `json:"what"`
	// Target is an address, a hostgroup, an id, a key of the configuration.
	Target string `json:"target,omitempty"`
	// Detail is for people, and cut at 4,096 bytes.
	Detail string `json:"detail,omitempty"`
}

// Query selects audit entries. Zero fields select everything.
type Query struct {
	// Limit is how many entries to return at most; 0 means 100, and there are never more than 10,000.
	Limit int
	// Before returns entries with a smaller Seq, to page on.
	Before uint64
	// Since leaves out entries older than that.
	Since time.Time
	// Who, What and Target must be equal when set.
	Who, What, Target string
}

// maxText bounds each text of an entry, maxPending the entries that wait for a disk.
const (
	maxText    = 4096
	maxPending = 1000
)

// Audit adds entries, and removes those above the bounds of Config. When the disk does not take them they wait in memory, up
// to 1,000, for the next call that succeeds; the error is returned all the same.
func (j *Journal) Audit(entries ...Entry) error {
	for i := range entries {
		e := entries[i]
		if e.Time.IsZero() {
			e.Time = j.deps.Now()
		}
		for _, text := range []*string{&e.Who, &e.What, &e.Target, &e.Detail} {
			*text = cut(*text)
		}
		entries[i] = e
	}
	j.mu.Lock()
	if !j.closed {
		j.pending = append(j.pending, entries...)
	}
	if n := len(j.pending) - maxPending; n > 0 {
		j.pending = slices.Clone(j.pending[n:])
		j.stats.AuditLost += uint64(n)
	}
	j.mu.Unlock()
	return j.do("audit", func(db *bolt.DB) error {
		if err := db.Update(j.flushAudit); err != nil {
			return err
		}
		j.pending = nil
		return nil
	})
}

// cut shortens a text, and drops what is not UTF-8.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// flushAudit writes what is pending; the caller empties pending once the transaction is through.
func (j *Journal) flushAudit(tx *bolt.Tx) error {
	if len(j.pending) == 0 {
		return nil
	}
	b := tx.Bucket(bucketAudit)
	for _, e := range j.pending {
		seq, err := b.NextSequence()
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		e.Seq = seq
		record, err := pack(bucketAudit, key64(seq), e)
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		if err := b.Put(key64(seq), record); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
	}
	return j.trimAudit(b)
}

// trimAudit removes the oldest entries above the bounds. Sequence numbers have no gaps but at the old end, so that the
// count is a subtraction.
func (j *Journal) trimAudit(b *bolt.Bucket) error {
	oldest := j.deps.Now().Add(-j.cfg.AuditAge)
	last := b.Sequence()
	c := b.Cursor()
	for k, raw := c.First(); k != nil; k, raw = c.First() {
		var e Entry
		err := unpack(bucketAudit, k, raw, &e)
		tooMany := len(k) == 8 && last-binary.BigEndian.Uint64(k) >= uint64(j.cfg.AuditEntries)
		if err == nil && !tooMany && !e.Time.Before(oldest) {
			return nil
		}
		if err := c.Delete(); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
	}
	return nil
}

// History returns audit entries, the newest first.
func (j *Journal) History(q Query) ([]Entry, error) {
	if q.Limit <= 0 {
		q.Limit = 100
	}
	q.Limit = min(q.Limit, 10_000)
	var out []Entry
	err := j.do("history", func(db *bolt.DB) error {
		out = nil
		return db.View(func(tx *bolt.Tx) error {
			c := tx.Bucket(bucketAudit).Cursor()
			k, raw := c.Last()
			if q.Before > 0 {
				if k, _ = c.Seek(key64(q.Before)); k == nil {
					k, raw = c.Last()
				} else {
					k, raw = c.Prev()
				}
			}
			for ; k != nil && len(out) < q.Limit; k, raw = c.Prev() {
				var e Entry
				if err := unpack(bucketAudit, k, raw, &e); err != nil {
					j.unreadable(bucketAudit, k, err)
					continue
				}
				if q.matches(&e) {
					out = append(out, e)
				}
			}
			return nil
		})
	})
	return out, err
}

func (q *Query) matches(e *Entry) bool {
	return (q.Who == "" || q.Who == e.Who) && (q.What == "" || q.What == e.What) && (q.Target == "" || q.Target == e.Target) && !e.Time.Before(q.Since)
}
