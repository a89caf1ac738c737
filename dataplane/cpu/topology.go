package cpu

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// CPU is one logical processor.
type CPU struct {
	// ID is the kernel's number.
	ID int
	// Node is the NUMA node, 0 on a machine without NUMA.
	Node int
	// Core is the lowest ID among the logical processors of the same physical core: equal Core means hyperthreads.
	Core int
	// Isolated is set for processors taken from the scheduler (isolcpus, or an isolated cpuset partition).
	Isolated bool
}

// Topology is the processors that we may use, sorted by ID.
type Topology struct {
	CPUs []CPU
}

// maxCPUs bounds what a list may name; Linux builds with at most 8,192.
const maxCPUs = 8192

// Read takes the online processors from sys, a tree such as os.DirFS("/sys").
// Only the list of online processors is required: what else is missing is taken as no isolation, no NUMA, no hyperthreads.
func Read(sys fs.FS) (Topology, error) {
	const base = "devices/system/cpu"
	online, err := readList(sys, base+"/online")
	if err != nil {
		return Topology{}, fmt.Errorf("online processors: %w", err)
	}
	if len(online) == 0 {
		return Topology{}, errors.New("online processors: the list is empty")
	}
	isolated, err := readList(sys, base+"/isolated")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Topology{}, fmt.Errorf("isolated processors: %w", err)
	}
	node := readNodes(sys)
	t := Topology{CPUs: make([]CPU, 0, len(online))}
	for _, id := range online {
		c := CPU{ID: id, Core: id, Node: node[id], Isolated: slices.Contains(isolated, id)}
		siblings, err := readList(sys, fmt.Sprintf("%s/cpu%d/topology/thread_siblings_list", base, id))
		if err == nil && len(siblings) > 0 && slices.Contains(siblings, id) {
			c.Core = siblings[0]
		}
		t.CPUs = append(t.CPUs, c)
	}
	return t, nil
}

// readNodes maps processors to NUMA nodes; processors of no node are absent, which reads as node 0.
func readNodes(sys fs.FS) map[int]int {
	nodes := make(map[int]int)
	dirs, _ := fs.Glob(sys, "devices/system/node/node[0-9]*") // the pattern is well-formed
	for _, dir := range dirs {
		n, err := strconv.Atoi(strings.TrimPrefix(path.Base(dir), "node"))
		if err != nil {
			continue
		}
		list, _ := readList(sys, dir+"/cpulist") // a node without processors, or without the file, adds none
		for _, id := range list {
			nodes[id] = n
		}
	}
	return nodes
}

// DeviceNode is the NUMA node of a network interface, or of a PCI address with or without a domain and arguments, as in
// 0000:03:00.0; -1 when it has none or is not known, as with virtual ones.
func DeviceNode(sys fs.FS, device string) int {
	name, _, _ := strings.Cut(device, ",")
	path := "class/net/" + name + "/device/numa_node"
	switch strings.Count(name, ":") {
	case 1:
		path = "bus/pci/devices/0000:" + name + "/numa_node"
	case 2:
		path = "bus/pci/devices/" + name + "/numa_node"
	}
	b, err := fs.ReadFile(sys, path)
	if err != nil {
		return -1
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// Restrict keeps the processors that allowed names.
func (t Topology) Restrict(allowed []int) Topology {
	var out Topology
	for _, c := range t.CPUs {
		if slices.Contains(allowed, c.ID) {
			out.CPUs = append(out.CPUs, c)
		}
	}
	return out
}

// IDs lists the processors.
func (t Topology) IDs() []int {
	ids := make([]int, len(t.CPUs))
	for i, c := range t.CPUs {
		ids[i] = c.ID
	}
	return ids
}

func (t Topology) find(id int) (CPU, bool) {
	for _, c := range t.CPUs {
		if c.ID == id {
			return c, true
		}
	}
	return CPU{}, false
}

func readList(sys fs.FS, name string) ([]int, error) {
	b, err := fs.ReadFile(sys, name)
	if err != nil {
		return nil, err
	}
	return ParseList(string(b))
}

// ParseList reads the kernel's list format, "0-3,8,10-11": sorted, without duplicates. An empty list is no error.
func ParseList(s string) ([]int, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, nil
	}
	var ids []int
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.Atoi(from)
		if err != nil {
			return nil, fmt.Errorf("processor list %q: %q is not a number", s, from)
		}
		b := a
		if isRange {
			if b, err = strconv.Atoi(to); err != nil {
				return nil, fmt.Errorf("processor list %q: %q is not a number", s, to)
			}
		}
		if a < 0 || b < a || b >= maxCPUs {
			return nil, fmt.Errorf("processor list %q: %q is not a range within 0-%d", s, part, maxCPUs-1)
		}
		for id := a; id <= b; id++ {
			ids = append(ids, id)
		}
		if len(ids) > 2*maxCPUs {
			return nil, fmt.Errorf("processor list of %d bytes: too long", len(s))
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// FormatList writes a sorted list as ParseList reads it.
func FormatList(ids []int) string {
	var b strings.Builder
	for i := 0; i < len(ids); {
		j := i
		for j+1 < len(ids) && ids[j+1] == ids[j]+1 {
			j++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(ids[i]))
		if j > i {
			b.WriteByte('-')
			b.WriteString(strconv.Itoa(ids[j]))
		}
		i = j + 1
	}
	return b.String()
}
