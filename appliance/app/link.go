package app

import (
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/weir-ddos/weir/appliance/api"
)

// linkOf reads a device's state from a sysfs tree; nil when there is no network device of that name.
func linkOf(sys fs.FS, device string) *api.Link {
	dir := "class/net/" + device
	if strings.ContainsRune(device, '/') || !fs.ValidPath(dir) {
		return nil
	}
	read := func(name string) string {
		text, err := fs.ReadFile(sys, path.Join(dir, name))
		if err != nil {
			return "" // a device that is down, or virtual, refuses some
		}
		return strings.TrimSpace(string(text))
	}
	flags, err := strconv.ParseUint(strings.TrimPrefix(read("flags"), "0x"), 16, 32)
	if err != nil {
		return nil
	}
	l := &api.Link{State: "down", Address: read("address")}
	const up = 1 // IFF_UP
	switch carrier := read("carrier"); {
	case flags&up == 0:
	case carrier == "0":
		l.State = "no carrier"
	default:
		l.State = "up"
	}
	l.MTU, _ = strconv.Atoi(read("mtu"))
	if mbps, err := strconv.Atoi(read("speed")); err == nil && mbps > 0 {
		l.Mbps = mbps
	}
	for line := range strings.SplitSeq(read("device/uevent"), "\n") {
		if name, ok := strings.CutPrefix(line, "DRIVER="); ok {
			l.Driver = name
		}
	}
	return l
}
