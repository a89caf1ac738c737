package cpu

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
)

// fake builds a sysfs of nodes x cores x threads, numbered as Linux does: first threads of all cores, then the second ones.
func fake(nodes, cores, threads int, isolated string) fstest.MapFS {
	m := fstest.MapFS{}
	put := func(name, text string) { m[name] = &fstest.MapFile{Data: []byte(text + "\n")} }
	total := nodes * cores
	put("devices/system/cpu/online", fmt.Sprintf("0-%d", total*threads-1))
	put("devices/system/cpu/isolated", isolated)
	lists := make([][]string, nodes)
	for core := range total {
		var siblings []string
		for th := range threads {
			siblings = append(siblings, fmt.Sprint(core+th*total))
		}
		for _, s := range siblings {
			put("devices/system/cpu/cpu"+s+"/topology/thread_siblings_list", strings.Join(siblings, ","))
			lists[core/cores] = append(lists[core/cores], s)
		}
	}
	for n, l := range lists {
		put(fmt.Sprintf("devices/system/node/node%d/cpulist", n), strings.Join(l, ","))
	}
	put("class/net/eth1/device/numa_node", fmt.Sprint(nodes-1))
	put("class/net/eth2/device/numa_node", "-1")
	return m
}

func auto(n, node int) (w []Worker) {
	for i := range n {
		w = append(w, Worker{Name: fmt.Sprint("w", i), Node: node, CPU: Auto})
	}
	return w
}

func TestPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sys      fstest.MapFS
		workers  []Worker
		cpus     []int
		house    string
		procs    int
		warnings []string
	}{
		"one cpu":          {fake(1, 1, 1, ""), auto(1, -1), []int{0}, "0", 3, []string{"every processor"}},
		"two cpus":         {fake(1, 2, 1, ""), auto(1, 0), []int{1}, "0", 3, nil},
		"two for two":      {fake(1, 2, 1, ""), auto(2, -1), []int{1, Unpinned}, "0", 4, []string{"w1 is not pinned"}},
		"hyperthreads":     {fake(1, 4, 2, ""), auto(3, -1), []int{7, 6, 5}, "0,4", 5, nil},
		"threads shared":   {fake(1, 2, 2, ""), auto(3, -1), []int{3, 2, 1}, "0", 5, []string{"w2 shares"}},
		"device's node":    {fake(2, 4, 1, ""), auto(2, 1), []int{7, 6}, "0-5", 8, nil},
		"node full":        {fake(2, 2, 1, ""), auto(3, 1), []int{3, 2, 1}, "0", 5, []string{"w2 runs on node 0"}},
		"isolated":         {fake(1, 4, 1, "1-2"), auto(2, -1), []int{2, 1}, "0,3", 4, nil},
		"isolated all":     {fake(1, 2, 1, "0-1"), auto(1, -1), []int{1}, "0", 3, nil},
		"explicit":         {fake(1, 4, 1, ""), []Worker{{"a", -1, 0}, {"b", -1, Auto}, {"c", -1, Unpinned}}, []int{0, 3, Unpinned}, "1-2", 5, nil},
		"explicit all":     {fake(1, 2, 1, ""), []Worker{{"a", -1, 1}, {"b", -1, 0}}, []int{1, 0}, "0-1", 4, []string{"every processor"}},
		"explicit one":     {fake(1, 1, 1, ""), []Worker{{"a", -1, 0}}, []int{0}, "0", 3, []string{"every processor"}},
		"explicit and one": {fake(1, 2, 1, ""), []Worker{{"a", -1, 1}, {"b", -1, Auto}}, []int{1, Unpinned}, "0", 4, []string{"b is not pinned"}},
		"no workers":       {fake(1, 4, 1, ""), nil, []int{}, "0-3", 4, nil},
		"big machine":      {fake(2, 32, 2, ""), auto(2, 0), []int{95, 94}, "0-29,32-93,96-127", 10, nil},
	} {
		topo, err := Read(c.sys)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p, err := Place(topo, c.workers)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		cpus := []int{}
		for _, w := range p.Workers {
			cpus = append(cpus, w.CPU)
		}
		if !reflect.DeepEqual(cpus, c.cpus) || FormatList(p.Housekeeping) != c.house || p.MaxProcs != c.procs {
			t.Errorf("%s: got cpus %v, housekeeping %s, procs %d; want %v, %s, %d", name, cpus, FormatList(p.Housekeeping), p.MaxProcs, c.cpus, c.house, c.procs)
		}
		if len(p.Warnings) != len(c.warnings) {
			t.Errorf("%s: warnings %q, want %q", name, p.Warnings, c.warnings)
			continue
		}
		for i, w := range c.warnings {
			if !strings.Contains(p.Warnings[i], w) || !strings.Contains(p.String(), w) {
				t.Errorf("%s: warnings %q, want %q", name, p.Warnings, c.warnings)
			}
		}
	}
}

func TestPlaceSaysWhy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sys     fstest.MapFS
		workers []Worker
		why     []string
	}{
		"isolated":   {fake(1, 4, 1, "1"), auto(2, -1), []string{"isolated, a core without another worker", "a core without another worker"}},
		"node":       {fake(2, 2, 1, ""), auto(3, 1), []string{"its device's node, a core without another worker", "its device's node, a core without another worker", "nothing free on its device's node, a core without another worker"}},
		"threads":    {fake(1, 2, 2, ""), auto(2, -1), []string{"a core without another worker", "a core without another worker"}},
		"shared":     {fake(1, 2, 2, ""), auto(3, -1), []string{"a core without another worker", "a core without another worker", "no core is left without a worker"}},
		"configured": {fake(1, 2, 1, ""), []Worker{{"a", -1, 1}, {"b", -1, Unpinned}, {"c", -1, Auto}}, []string{"configured", "not asked for", "no processor is left"}},
	} {
		topo, err := Read(c.sys)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Place(topo, c.workers)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, w := range p.Workers {
			if w.Why != c.why[i] || !strings.Contains(p.String(), w.Why) {
				t.Errorf("%s: worker %d on %d: %q, want %q", name, i, w.CPU, w.Why, c.why[i])
			}
		}
	}
}

func TestPlaceErrors(t *testing.T) {
	t.Parallel()
	topo, err := Read(fake(1, 2, 1, ""))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Place(topo, []Worker{{"a", -1, 1}, {"b", -1, 1}, {"c", -1, 9}})
	for _, want := range []string{"worker b: processor 1 already runs worker a", "worker c: processor 9 is not online", "there are 0-1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if _, err := Place(topo.Restrict([]int{7}), auto(1, -1)); err == nil {
		t.Error("a machine without processors takes workers")
	}
}

func TestPlanString(t *testing.T) {
	t.Parallel()
	p := Plan{Workers: []Assignment{{"eth1/0", 3, 0, "isolated"}, {"eth1/1", Unpinned, -1, "not asked for"}}, Housekeeping: []int{0, 1}, MaxProcs: 4, Warnings: []string{"so so"}}
	want := "worker eth1/0           cpu 3, node 0: isolated\nworker eth1/1           not pinned: not asked for\nhousekeeping            cpu 0-1, GOMAXPROCS 4\nwarning: so so\n"
	if got := p.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	topo, err := Read(fake(2, 1, 2, "3"))
	want := Topology{[]CPU{{0, 0, 0, false}, {1, 1, 1, false}, {2, 0, 0, false}, {3, 1, 1, true}}}
	if err != nil || !reflect.DeepEqual(topo, want) {
		t.Errorf("got %+v, %v, want %+v", topo, err, want)
	}
	bare, err := Read(fstest.MapFS{"devices/system/cpu/online": {Data: []byte("0,2\n")}})
	if want := (Topology{[]CPU{{0, 0, 0, false}, {2, 0, 2, false}}}); err != nil || !reflect.DeepEqual(bare, want) {
		t.Errorf("got %+v, %v, want %+v", bare, err, want)
	}
	for name, sys := range map[string]fstest.MapFS{
		"nothing": {}, "empty": {"devices/system/cpu/online": {Data: []byte("\n")}}, "words": {"devices/system/cpu/online": {Data: []byte("many")}},
		"isolated": {"devices/system/cpu/online": {Data: []byte("0")}, "devices/system/cpu/isolated": {Data: []byte("x")}},
	} {
		if got, err := Read(sys); err == nil {
			t.Errorf("%s: no error, got %+v", name, got)
		}
	}
}

func TestDeviceNode(t *testing.T) {
	t.Parallel()
	sys := fake(2, 1, 1, "")
	sys["bus/pci/devices/0000:03:00.0/numa_node"] = &fstest.MapFile{Data: []byte("1\n")}
	for device, want := range map[string]int{
		"eth1": 1, "eth2": -1, "eth3": -1, "../net/eth1": -1, "": -1,
		"0000:03:00.0": 1, "03:00.0": 1, "0000:03:00.0,representor=0": 1, "0000:04:00.0": -1, "net_null0,size=64": -1, "a:b:c:d": -1,
	} {
		if got := DeviceNode(sys, device); got != want {
			t.Errorf("%s: node %d, want %d", device, got, want)
		}
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "", "0\n": "0", "0-3,8,10-11": "0-3,8,10-11", "3,1,2,2": "1-3", " 5 , 7 ": "5,7"} {
		got, err := ParseList(in)
		if err != nil || FormatList(got) != want {
			t.Errorf("%q: got %v, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"a", "1-", "-1", "3-1", "0-99999999", ",", "1,,2", strings.Repeat("0-8191,", 10) + "1"} {
		if got, err := ParseList(in); err == nil {
			t.Errorf("%.20q: no error, got %d ids", in, len(got))
		}
	}
}
