package mitigate

import (
	"fmt"
	"strconv"
	"strings"
)

// ParsedCommunity is a Community in numbers: either a standard one (RFC 1997) or a large one (RFC 8092).
type ParsedCommunity struct {
	// IsLarge says which of the two fields below is meant.
	IsLarge bool
	// Standard is the 32-bit value of a standard community.
	Standard uint32
	// Large holds global administrator, local data 1 and local data 2 of a large community.
	Large [3]uint32
}

// wellKnownCommunities are the names of the IANA "BGP Well-known Communities" registry that make sense on a mitigation.
var wellKnownCommunities = map[string]uint32{
	"graceful-shutdown":   0xFFFF0000, // RFC 8326
	"blackhole":           0xFFFF029A, // RFC 7999, 65535:666
	"no-export":           0xFFFFFF01, // RFC 1997
	"no-advertise":        0xFFFFFF02, // RFC 1997
	"no-export-subconfed": 0xFFFFFF03, // RFC 1997
	"no-peer":             0xFFFFFF04, // RFC 3765
}

// Parse reads the community's text. The error names the text and what is wrong with it.
func (c Community) Parse() (ParsedCommunity, error) {
	s := string(c)
	if v, ok := wellKnownCommunities[strings.ToLower(s)]; ok {
		return ParsedCommunity{Standard: v}, nil
	}
	parts := strings.Split(s, ":")
	var n [3]uint32
	if len(parts) != 2 && len(parts) != 3 {
		return ParsedCommunity{}, fmt.Errorf("community %q: want ASN:VALUE, ASN:VALUE:VALUE or a well-known name", s)
	}
	bits := 32
	if len(parts) == 2 {
		bits = 16
	}
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, bits)
		if err != nil || p[0] == '+' {
			return ParsedCommunity{}, fmt.Errorf("community %q: %q is not a number from 0 to %d"+
				" (a four-byte AS needs a large community)", s, p, uint64(1)<<bits-1)
		}
		n[i] = uint32(v)
	}
	if len(parts) == 2 {
		return ParsedCommunity{Standard: n[0]<<16 | n[1]}, nil
	}
	return ParsedCommunity{IsLarge: true, Large: n}, nil
}
