package template

import "slices"

// Held is a data set that came before its template.
type Held struct {
	// Set is the set's contents behind Margin bytes of padding, so that Program.Read can read it.
	Set []byte
	// Context is what the decoder needs of the datagram that it came in.
	Context Context
}

// Context is the part of a datagram's header that its records need.
type Context struct {
	// Arrived is when it was received, Exported the exporter's clock, both ns since the Unix epoch.
	Arrived, Exported int64
	// Uptime is the exporter's uptime in ms.
	Uptime uint32
}

// heldOverhead is about what one waiting set takes besides its bytes.
const heldOverhead = 256

type heldSet struct {
	id   uint16
	held Held
}

// heldSum is how much is kept for one exporter.
type heldSum struct{ sets, bytes int }

// Hold keeps a copy of the contents of a data set until template id of key is announced. It reports false when there is no room.
func (g *Registry) Hold(key *Key, id uint16, set []byte, ctx Context) bool {
	ok := g.hold(key, id, set, ctx)
	if ok {
		g.counts.held.Add(1)
	} else {
		g.counts.heldDropped.Add(1)
	}
	return ok
}

func (g *Registry) hold(key *Key, id uint16, set []byte, ctx Context) bool {
	n := heldOverhead + Margin + len(set)
	if g.cfg.HoldSets == 0 || n > g.cfg.HoldBytes {
		return false
	}
	s := g.shard(&key.Exporter)
	s.mu.Lock()
	defer s.mu.Unlock()
	total := int64(g.cfg.HoldTotal)
	if e := s.exporters[key.Exporter]; e == nil || !e.trusted {
		total -= total / 8
	}
	if g.held.Load()+int64(n) > total {
		return false
	}
	sum := s.heldBy[key.Exporter]
	if sum != nil && (sum.sets >= g.cfg.HoldSets || sum.bytes+n > g.cfg.HoldBytes) {
		g.dropOld(s, key, ctx.Arrived) // make room, if what is there is stale
		if sum = s.heldBy[key.Exporter]; sum != nil && (sum.sets >= g.cfg.HoldSets || sum.bytes+n > g.cfg.HoldBytes) {
			return false
		}
	}
	if sum == nil {
		sum = &heldSum{}
		s.heldBy[key.Exporter] = sum
	}
	sum.sets++
	sum.bytes += n
	g.held.Add(int64(n))
	buf := make([]byte, Margin+len(set))
	copy(buf[Margin:], set)
	s.held[*key] = append(s.held[*key], heldSet{id, Held{buf, ctx}})
	return true
}

// Take returns the data sets that waited for template id of key, oldest first, and forgets them. Those that waited longer than
// Config.HoldFor at now are dropped. It returns nil when there are none, which is nearly always.
func (g *Registry) Take(key *Key, id uint16, now int64) []Held {
	if g.held.Load() == 0 {
		return nil
	}
	s := g.shard(&key.Exporter)
	s.mu.Lock()
	defer s.mu.Unlock()
	g.dropOld(s, key, now)
	var out []Held
	g.filterHeld(s, key, func(h *heldSet) bool {
		if h.id != id {
			return true
		}
		out = append(out, h.held)
		return false
	})
	g.counts.replayed.Add(uint64(len(out)))
	return out
}

// dropOld drops the sets of key that have waited too long. The caller holds the lock.
func (g *Registry) dropOld(s *shard, key *Key, now int64) {
	limit := now - g.cfg.HoldFor.Nanoseconds()
	n := 0
	g.filterHeld(s, key, func(h *heldSet) bool {
		if h.held.Context.Arrived >= limit {
			return true
		}
		n++
		return false
	})
	g.counts.heldDropped.Add(uint64(n))
}

// ExpireHeld forgets the sets that have waited too long for their template: what they take others cannot use.
func (g *Registry) ExpireHeld(now int64) {
	for i := range g.shards {
		g.expireHeld(&g.shards[i], now)
	}
}

// expireHeld drops what has waited too long in a shard.
func (g *Registry) expireHeld(s *shard, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.held {
		g.dropOld(s, &key, now)
	}
}

// filterHeld keeps the sets of key that keep names. The caller holds the lock.
func (g *Registry) filterHeld(s *shard, key *Key, keep func(*heldSet) bool) {
	list := s.held[*key]
	sum := s.heldBy[key.Exporter]
	list = slices.DeleteFunc(list, func(h heldSet) bool {
		if keep(&h) {
			return false
		}
		n := heldOverhead + len(h.held.Set)
		sum.sets--
		sum.bytes -= n
		g.held.Add(int64(-n))
		return true
	})
	if len(list) > 0 {
		s.held[*key] = list
		return
	}
	delete(s.held, *key)
	if sum != nil && sum.sets == 0 {
		delete(s.heldBy, key.Exporter)
	}
}
