package nets

import (
	"errors"
	"fmt"
	"net/netip"
)

// Validate reports every problem of the specification at once, each naming the network or hostgroup:
// an invalid prefix, host bits set, an IPv4 prefix in v4-mapped form, a duplicate, a group without a name,
// two groups of one name, a prefix in two groups, and a /0 network without AllowAll.
func (s Spec) Validate() error {
	var errs []error
	seen := make(map[netip.Prefix]bool, len(s.Networks))
	for i, p := range s.Networks {
		err := checkPrefix(p)
		switch {
		case err != nil:
		case seen[p]:
			err = errors.New("is listed twice")
		case p.Bits() == 0 && !s.AllowAll:
			err = errors.New("is every address there is; set allow_all if that is meant")
		}
		seen[p] = true
		if err != nil {
			errs = append(errs, fmt.Errorf("network %d (%s): %w", i+1, p, err))
		}
	}
	return errors.Join(append(errs, s.checkGroups()...)...)
}

func (s Spec) checkGroups() (errs []error) {
	owner := make(map[netip.Prefix]string)
	names := make(map[string]bool, len(s.Groups))
	for i, g := range s.Groups {
		switch {
		case g.Name == "":
			errs = append(errs, fmt.Errorf("hostgroup %d: has no name", i+1))
		case g.Name == GlobalName:
			errs = append(errs, fmt.Errorf("hostgroup %q: is built in and takes no prefixes", g.Name))
		case names[g.Name]:
			errs = append(errs, fmt.Errorf("hostgroup %q: is defined twice", g.Name))
		}
		names[g.Name] = true
		for _, p := range g.Prefixes {
			err := checkPrefix(p)
			if other, dup := owner[p]; err == nil && dup {
				err = fmt.Errorf("is already in hostgroup %q", other)
			}
			owner[p] = g.Name
			if err != nil {
				errs = append(errs, fmt.Errorf("hostgroup %q: %s: %w", g.Name, p, err))
			}
		}
	}
	return errs
}

// checkPrefix accepts a canonical prefix only: what is written must be what is matched.
func checkPrefix(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return errors.New("is not a valid prefix")
	case p.Addr().Is4In6():
		if p.Bits() < 96 {
			return errors.New("is a v4-mapped prefix; write the IPv4 prefix itself")
		}
		return fmt.Errorf("is a v4-mapped prefix; write %s", netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96))
	case p != p.Masked():
		return fmt.Errorf("has host bits set; write %s", p.Masked())
	}
	return nil
}

// Warnings lists what is legal and yet probably not meant: group prefixes that meet none of the networks and so
// can never match. Call it on a Spec that Validate accepts.
func (s Spec) Warnings() (warnings []string) {
	have := sortedPrefixes(s.Networks)
	for _, g := range s.Groups {
		for _, p := range g.Prefixes {
			if !overlapsAny(have, p) {
				warnings = append(warnings, fmt.Sprintf("hostgroup %q: %s lies outside every network and never matches", g.Name, p))
			}
		}
	}
	return warnings
}
