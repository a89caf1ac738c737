package filter

// Stats are what a Set did since it was made, over all workers.
type Stats struct {
	// Records is how many were looked at, Dropped how many of them were not kept, by rules or hooks.
	Records uint64 `json:"records"`
	Dropped uint64 `json:"dropped"`
	// Rules are the rules in their order.
	Rules []RuleStats `json:"rules,omitempty"`
	// Unmatched is how many records no rule matched.
	Unmatched uint64 `json:"unmatched"`
	// Hooks are the scripts.
	Hooks []HookStats `json:"hooks,omitempty"`
}

// RuleStats is one rule.
type RuleStats struct {
	// Rule is its text.
	Rule string `json:"rule"`
	// Records is how many records it decided.
	Records uint64 `json:"records"`
}

// HookStats is one script.
type HookStats struct {
	// Function is process_netflow or process_sflow, Path the script's file.
	Function string `json:"function"`
	Path     string `json:"path"`
	// Calls is how many records it was asked about, Dropped how many it dropped.
	Calls   uint64 `json:"calls"`
	Dropped uint64 `json:"dropped"`
	// Errors is how many calls failed; the records were kept. Timeouts are those among them that took too long.
	Errors   uint64 `json:"errors"`
	Timeouts uint64 `json:"timeouts"`
	// Skipped is how many records were kept unasked since the script is switched off.
	Skipped uint64 `json:"skipped"`
	// Workers is how many socket workers run the script, Disabled how many of them switched it off: an alarm. It is switched on
	// again by loading the configuration anew.
	Workers  int `json:"workers"`
	Disabled int `json:"disabled"`
	// Memory is what the script keeps in all workers, in bytes, as last measured.
	Memory int64 `json:"memory"`
	// LastError is the last error's text, "" without errors.
	LastError string `json:"last_error,omitempty"`
}

// Stats is safe at any time and cheap. Records counted by workers since their last Flush are missing.
func (s *Set) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := newCounts(len(s.program.rules))
	sum.add(s.retired)
	for _, w := range s.workers {
		sum.add(w.published)
	}
	st := Stats{}
	for i := range s.program.rules {
		r, n := &s.program.rules[i], sum.rules[i].Load()
		st.Rules = append(st.Rules, RuleStats{Rule: r.text, Records: n})
		st.Records += n
		if r.verdict == drop {
			st.Dropped += n
		}
	}
	st.Unmatched = sum.rules[len(s.program.rules)].Load()
	st.Records += st.Unmatched
	for _, sc := range []*script{s.netflow, s.sflow} {
		if sc != nil {
			h := sc.stats()
			st.Dropped += h.Dropped
			st.Hooks = append(st.Hooks, h)
		}
	}
	return st
}
