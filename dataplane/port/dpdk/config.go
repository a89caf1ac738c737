package dpdk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/weir-ddos/weir/dataplane/port"
)

// Options are the settings of the dpdk driver under ports.options. The port's device is a PCI address (0000:03:00.0) or a
// virtual device with its arguments, as DPDK writes them: net_pcap0,rx_pcap=/tmp/a.pcap,infinite_rx=1.
type Options struct {
	// EAL are arguments for DPDK's environment, behind those that follow from HugePages and Memory, one word each:
	// ["--legacy-mem", "--log-level=debug"]. It is started once in a process, so that ports of one process that set EAL,
	// HugePages or Memory must all set the same. Only without any of -l, -c, --lcores do we keep DPDK off the workers'
	// processors, and only without -a, -b, --no-pci off PCI devices that no port names. Only --help, --log-level=help and
	// --proc-type=secondary are refused: the first two end the process.
	EAL []string `json:"eal"`
	// HugePages takes memory from huge pages, which must be reserved (sysctl vm.nr_hugepages). Without, or with --no-huge in EAL,
	// ordinary pages are used: virtual devices work, real ones need an IOMMU and are slower. They are anonymous; --huge-dir in EAL, or
	// --legacy-mem, which takes all at start, wants a hugetlbfs mounted.
	HugePages bool `json:"huge_pages"`
	// Memory is how much to take at start, in megabytes, 0 to 1048576. With huge pages more is taken when a port needs it and 0
	// is fine; without, this is all that there is, and 0 means 256.
	Memory int `json:"memory"`
	// Descriptors is how many frames each queue's ring holds, 64 to 32768; the device's limits apply.
	Descriptors int `json:"descriptors"`
	// Mbufs is how many frames the port's memory pool holds, up to 8388608; 0 means as many as rings, bursts and caches
	// can hold at a time. The pool lies on the device's NUMA node.
	Mbufs int `json:"mbufs"`
	// BufferSize is how many bytes of a frame one buffer takes, 512 to 16384. Of a longer frame the first buffer is seen, and
	// its whole length counts.
	BufferSize int `json:"buffer_size"`
	// MTU is set at the device, 68 to 16000; 0 leaves it.
	MTU int `json:"mtu"`
	// Promiscuous makes the device take frames for any address, as a mirror port must.
	Promiscuous bool `json:"promiscuous"`
	// VLANStrip lets the device take VLAN tags out; we put them back, so that frames and lengths are as on the wire.
	// It only makes sense for devices that strip anyway.
	VLANStrip bool `json:"vlan_strip"`
	// RSS chooses what spreads frames over several queues: ports (addresses and ports), ip (addresses only, keeps fragments with
	// their flow) or off. The key is symmetric: both directions of a flow meet in one queue.
	RSS string `json:"rss"`
}

// Default returns the options that hold when nothing is set.
func Default() Options {
	return Options{HugePages: true, Descriptors: 2048, BufferSize: 2048, Promiscuous: true, RSS: "ports"}
}

// rssModes are the values of RSS as the binding knows them.
var rssModes = map[string]uint16{"off": 0, "ip": 1, "ports": 2}

const maxQueues = 128

// Validate reports every problem at once, each naming its key.
func (o Options) Validate() error {
	var errs []error
	within := func(key string, v, low, high int) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("options.%s: %d is outside %d..%d", key, v, low, high))
		}
	}
	within("memory", o.Memory, 0, 1<<20)
	within("descriptors", o.Descriptors, 64, 32768)
	within("mbufs", o.Mbufs, 0, 8<<20)
	within("buffer_size", o.BufferSize, 512, 16384)
	if o.MTU != 0 {
		within("mtu", o.MTU, 68, 16000)
	}
	if _, ok := rssModes[o.RSS]; !ok {
		errs = append(errs, fmt.Errorf("options.rss: %q is not ports, ip or off", o.RSS))
	}
	return errors.Join(append(errs, o.validateEAL()...)...)
}

// validateEAL refuses what DPDK would end the process for, or never return from.
func (o Options) validateEAL() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("options.eal: "+format, args...)) }
	for i, a := range o.EAL {
		value := "" // of an option that has it in the next word
		if i+1 < len(o.EAL) {
			value = o.EAL[i+1]
		}
		before, _, _ := strings.Cut(a, "=")
		switch {
		case a == "" || strings.ContainsRune(a, 0):
			bad("%q is not an argument", a)
		case strings.HasPrefix(a, "--") && strings.ContainsAny(before, " \t"):
			bad("%q is more than one word: write %q", a, strings.Fields(a))
		case a == "-h" || a == "--help" || a == "--log-level=help" || a == "--log-level" && value == "help":
			bad("%s prints and ends the process", a)
		case a == "--proc-type=secondary" || a == "--proc-type" && value == "secondary":
			bad("the appliance cannot be a secondary process: it shares nothing with others")
		}
	}
	return errs
}

// given is whether EAL has one of the options, in any form that getopt takes.
func (o Options) given(names ...string) bool {
	return slices.ContainsFunc(o.EAL, func(a string) bool {
		return slices.ContainsFunc(names, func(n string) bool {
			return a == n || strings.HasPrefix(a, n+"=") || (len(n) == 2 && !strings.HasPrefix(a, "--") && strings.HasPrefix(a, n))
		})
	})
}

// huge is whether memory comes from huge pages.
func (o Options) huge() bool { return o.HugePages && !o.given("--no-huge") }

// deviceName is the name by which DPDK knows a device: what stands before its arguments.
func deviceName(device string) string {
	name, _, _ := strings.Cut(device, ",")
	return name
}

// pciAddress is a PCI address with a domain or without.
var pciAddress = regexp.MustCompile(`(?i)^([0-9a-f]{1,8}:)?[0-9a-f]{1,2}:[0-9a-f]{1,2}\.[0-7](,|$)`)

// canonical is device with its PCI address as DPDK writes it; other devices are left as they are.
func canonical(device string) string {
	if !pciAddress.MatchString(device) {
		return device
	}
	address, args, more := strings.Cut(device, ",")
	if strings.Count(address, ":") == 1 {
		address = "0000:" + address
	}
	if address = strings.ToLower(address); more {
		address += "," + args
	}
	return address
}

// below names the kernel's interfaces that a virtual device receives from.
func below(driver, device string) (names []string) {
	keys := map[string][]string{
		"net_af_packet": {"iface"}, "net_af_xdp": {"iface"}, "net_pcap": {"iface", "rx_iface", "rx_iface_in"},
	}[driver]
	for a := range strings.SplitSeq(device, ",") {
		if key, value, _ := strings.Cut(a, "="); slices.Contains(keys, key) {
			names = append(names, value)
		}
	}
	return names
}

func checkDevice(device string) error {
	switch name := deviceName(device); {
	case device == "":
		return errors.New("must be set")
	case name == "" || len(name) > 63 || strings.ContainsAny(name, "/ \t\r\n\x00") || strings.ContainsAny(device, "\r\n\x00"):
		return fmt.Errorf("%q is neither a PCI address nor a virtual device such as net_pcap0,rx_pcap=FILE", device)
	}
	return nil
}

// options checks cfg and returns its options.
func options(cfg port.Config) (Options, error) {
	o := Default()
	errs := []error{port.DecodeOptions(cfg.Options, &o)}
	if err := checkDevice(cfg.Device); err != nil {
		errs = append(errs, fmt.Errorf("device: %w", err))
	}
	if cfg.Queues < 0 || cfg.Queues > maxQueues {
		errs = append(errs, fmt.Errorf("queues: %d is outside 0..%d", cfg.Queues, maxQueues))
	}
	return o, errors.Join(append(errs, o.Validate())...)
}

// ealArgs are the arguments that start DPDK's environment. Processors is the list of those that the process may use, as
// in "0-3,8".
func (o Options) ealArgs(processors string) []string {
	args := []string{"weir", "--no-telemetry"}
	memory := o.Memory
	// Nothing is shared with other processes, and nothing stays behind, however this one ends. DPDK refuses the simple way
	// with all but anonymous huge pages.
	switch {
	case !o.huge():
		args = append(args, "--no-shconf")
		if !o.given("--no-huge") {
			args = append(args, "--no-huge")
		}
		if memory == 0 {
			memory = 256
		}
	case o.given("--legacy-mem", "--huge-dir"):
		args = append(args, "--no-shconf")
		if !o.given("--huge-unlink") {
			args = append(args, "--huge-unlink")
		}
	default:
		args = append(args, "--in-memory")
	}
	if memory > 0 && !o.given("-m", "--socket-mem") {
		args = append(args, "-m", fmt.Sprint(memory))
	}
	if !o.given("-l", "-c", "--lcores") {
		// One lcore that floats over all processors: workers bring their own threads, pinned by us.
		args = append(args, "--lcores=0@("+processors+")")
	}
	if !o.given("-a", "-b", "--allow", "--block", "--no-pci") {
		// The host bridge, which no driver takes: this keeps the EAL from seizing every device that is bound to vfio-pci. Each
		// port adds its own when it is opened, and so can let go of it.
		args = append(args, "-a", "0000:00:00.0")
	}
	return append(args, o.EAL...)
}

// hugeHint says what to do when options want huge pages and the system, whose pools are folders of dir, has reserved none; else nothing.
func hugeHint(o Options, dir string) string {
	pools, _ := filepath.Glob(filepath.Join(dir, "hugepages-*", "nr_hugepages")) // the pattern is good
	for _, p := range pools {
		if n, err := os.ReadFile(p); err != nil || strings.TrimSpace(string(n)) != "0" {
			return ""
		}
	}
	if !o.huge() {
		return ""
	}
	return " (no huge pages are reserved: see sysctl vm.nr_hugepages; with options.huge_pages: false virtual devices work without)"
}

// probeHint says what to look at when DPDK does not find a device, written as DPDK writes it.
func probeHint(device string, unknown bool) string {
	name := deviceName(device)
	switch {
	case pciAddress.MatchString(device):
		return "is it there, and bound to vfio-pci? dpdk-devbind.py --status-dev net; see DPDK.md"
	case unknown:
		return fmt.Sprintf("DPDK has no such device: name a PCI address or a virtual device; if %s is an interface of the kernel, net_af_packet0,iface=%s", name, name)
	}
	return "are its arguments right, and do the files and interfaces exist that they name?"
}
