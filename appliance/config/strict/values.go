package strict

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

func (b *binder) scalar(n *yaml.Node, path, want string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		b.fail(n, path, "must be %s, not %s", want, kindName(n))
		return "", false
	}
	return n.Value, true
}

func (b *binder) text(n *yaml.Node, v reflect.Value, path string) {
	s, ok := b.scalar(n, path, "one value")
	if !ok {
		return
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)); err != nil {
		b.fail(n, path, "%s", err)
	}
}

func (b *binder) json(n *yaml.Node, v reflect.Value, path string) {
	if hasAlias(n, 0) {
		b.fail(n, path, "YAML anchors and aliases are not supported; write the value out")
		return
	}
	var x any
	err := n.Decode(&x)
	if err == nil {
		var text []byte
		if text, err = json.Marshal(x); err == nil {
			err = json.Unmarshal(text, v.Addr().Interface())
		}
	}
	if err != nil {
		b.fail(n, path, "%s", err)
	}
}

func (b *binder) prefix(n *yaml.Node, v reflect.Value, path string) {
	s, ok := b.scalar(n, path, "a network such as 192.0.2.0/24 or 2001:db8::/32")
	if !ok {
		return
	}
	p, err := ParsePrefix(s)
	if err != nil {
		b.fail(n, path, "%s", err)
		return
	}
	v.Set(reflect.ValueOf(p))
}

// ParsePrefix reads a network in CIDR form, or a single address as the network that holds only it.
// Host bits, zones and IPv4-mapped IPv6 are errors that say what to write instead.
func ParsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is not a network; write it as 192.0.2.0/24 or 2001:db8::/32", s)
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is not a network; write it as 192.0.2.0/24 or 2001:db8::/32", s)
	case p.Addr().Is4In6():
		return p, fmt.Errorf("%q is an IPv4 network written as IPv6; write it as IPv4", s)
	case p != p.Masked():
		return p, fmt.Errorf("%q has bits set behind its length; did you mean %s?", s, p.Masked())
	}
	return p, nil
}

// ParseAddr reads an address without a zone.
func ParseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return a, fmt.Errorf("%q is not an IP address", s)
	case a.Zone() != "":
		return a, fmt.Errorf("%q has a zone; write it without", s)
	}
	return a.Unmap(), nil
}

func (b *binder) addr(n *yaml.Node, v reflect.Value, path string) {
	s, ok := b.scalar(n, path, "an IP address")
	if !ok {
		return
	}
	if s == "" { // "unset", as in the struct's zero value
		v.Set(reflect.Zero(addrType))
		return
	}
	a, err := ParseAddr(s)
	if err != nil {
		b.fail(n, path, "%s", err)
		return
	}
	v.Set(reflect.ValueOf(a))
}

func (b *binder) duration(n *yaml.Node, v reflect.Value, path string) {
	s, ok := b.scalar(n, path, "a duration such as 500ms, 30s or 10m")
	if !ok {
		return
	}
	d, err := ParseDuration(s)
	if err != nil {
		b.fail(n, path, "%s", err)
		return
	}
	v.SetInt(int64(d))
}

// ParseDuration reads 500ms, 30s, 10m, 2h, or a bare whole number of seconds, as FastNetMon's users write it.
func ParseDuration(s string) (time.Duration, error) {
	if secs, err := strconv.ParseInt(s, 10, 64); err == nil {
		if secs > math.MaxInt64/int64(time.Second) || secs < math.MinInt64/int64(time.Second) {
			return 0, fmt.Errorf("%s seconds is too long", s)
		}
		return time.Duration(secs) * time.Second, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration; write 500ms, 30s, 10m, 2h, or a number of seconds", s)
	}
	return d, nil
}

// ParseBool reads true and false, and enable and disable as fcli writes them; yes, no, on and off too.
func ParseBool(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "true", "enable", "enabled", "yes", "on":
		return true, true
	case "false", "disable", "disabled", "no", "off":
		return false, true
	}
	return false, false
}

func (b *binder) boolean(n *yaml.Node, v reflect.Value, path string) {
	s, ok := b.scalar(n, path, "true or false")
	if !ok {
		return
	}
	val, ok := ParseBool(s)
	if !ok {
		b.fail(n, path, "must be true or false, not %q", s)
		return
	}
	v.SetBool(val)
}

// number returns the digits of a whole number, or reports what is there instead.
func (b *binder) number(n *yaml.Node, path string) (string, bool) {
	s, ok := b.scalar(n, path, "a whole number")
	if !ok {
		return "", false
	}
	digits := strings.TrimPrefix(strings.ReplaceAll(s, "_", ""), "-")
	switch {
	case n.Tag == "!!str" || digits == "" || strings.ContainsFunc(digits, func(r rune) bool { return r < '0' || r > '9' }):
		b.fail(n, path, "must be a whole number, not %q", s)
	case len(digits) > 1 && digits[0] == '0':
		b.fail(n, path, "must be a whole number without leading zeros, not %q", s)
	default:
		return strings.ReplaceAll(s, "_", ""), true
	}
	return "", false
}

func (b *binder) integer(n *yaml.Node, v reflect.Value, path string) {
	s, ok := b.number(n, path)
	if !ok {
		return
	}
	x, err := strconv.ParseInt(s, 10, v.Type().Bits())
	if err != nil {
		b.fail(n, path, "%s is out of range", s)
		return
	}
	v.SetInt(x)
}

func (b *binder) unsigned(n *yaml.Node, v reflect.Value, path string) {
	s, ok := b.number(n, path)
	if !ok {
		return
	}
	if s[0] == '-' {
		b.fail(n, path, "must not be negative, is %s", s)
		return
	}
	x, err := strconv.ParseUint(s, 10, v.Type().Bits())
	if err != nil {
		b.fail(n, path, "%s is out of range; the most is %d", s, uint64(math.MaxUint64)>>(64-v.Type().Bits()))
		return
	}
	v.SetUint(x)
}

func (b *binder) float(n *yaml.Node, v reflect.Value, path string) {
	s, ok := b.scalar(n, path, "a number")
	if !ok {
		return
	}
	x, err := strconv.ParseFloat(s, v.Type().Bits())
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) || n.Tag == "!!str" {
		b.fail(n, path, "must be a number, not %q", s)
		return
	}
	v.SetFloat(x)
}
