package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// Config says where the journal is and how much of the audit it keeps.
type Config struct {
	// Path is the journal's file; its folder is made when missing. Default: /var/lib/weir/journal.db.
	Path string `json:"path"`
	// AuditEntries is how many audit entries are kept, 100 to 1000000; the oldest go first. Default: 10000.
	AuditEntries int `json:"audit_entries"`
	// AuditAge is how long audit entries are kept, 1h to 87600h. Default: 2160h (90 days).
	AuditAge time.Duration `json:"audit_age"`
}

// DefaultConfig returns the values of an appliance that sets none.
func DefaultConfig() Config {
	return Config{Path: "/var/lib/weir/journal.db", AuditEntries: 10_000, AuditAge: 90 * 24 * time.Hour}
}

// Validate reports every problem, each beginning with its key.
func (c Config) Validate() error {
	var errs []error
	if !filepath.IsAbs(c.Path) || c.Path != filepath.Clean(c.Path) {
		errs = append(errs, fmt.Errorf("path: %q is not a clean absolute path", c.Path))
	}
	if c.AuditEntries < 100 || c.AuditEntries > 1_000_000 {
		errs = append(errs, fmt.Errorf("audit_entries: %d is outside 100..1000000", c.AuditEntries))
	}
	if c.AuditAge < time.Hour || c.AuditAge > 10*365*24*time.Hour {
		errs = append(errs, fmt.Errorf("audit_age: %v is outside 1h..87600h", c.AuditAge))
	}
	return errors.Join(errs...)
}
