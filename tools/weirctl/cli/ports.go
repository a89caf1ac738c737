package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

type portView struct {
	Device  string            `json:"device"`
	Driver  string            `json:"driver"`
	Mode    string            `json:"mode"`
	Dropped uint64            `json:"dropped"`
	Err     string            `json:"err"`
	Reopens uint64            `json:"reopens"`
	Extra   map[string]uint64 `json:"extra"`
	Queues  []struct {
		Received uint64 `json:"received"`
		Bytes    uint64 `json:"bytes"`
		Dropped  uint64 `json:"dropped"`
	} `json:"queues"`
	Packets float64 `json:"packets_per_second"`
	Bytes   float64 `json:"bytes_per_second"`
	Link    *struct {
		State   string `json:"state"`
		Mbps    int    `json:"mbps"`
		MTU     int    `json:"mtu"`
		Address string `json:"address"`
		Driver  string `json:"driver"`
	} `json:"link"`
	Workers []workerView `json:"workers"`
}

type workerView struct {
	Name   string  `json:"name"`
	Queues []int   `json:"queues"`
	CPU    int     `json:"cpu"`
	Node   int     `json:"node"`
	Idle   string  `json:"idle"`
	Keeps  bool    `json:"keeps_turn"`
	Busy   float64 `json:"busy"`
	Gap    float64 `json:"longest_gap_seconds"`
	Gaps   []struct {
		Below float64 `json:"below_seconds"`
		Count uint64  `json:"count"`
	} `json:"gaps"`
}

// printPorts shows what is received, then who polls it, then what the drivers say themselves.
func (s *session) printPorts(a *answer) error {
	list, err := decode[[]portView](a.Values)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return s.none("ports")
	}
	var rows [][]string
	for i := range list {
		rows = append(rows, list[i].row())
	}
	s.table([]string{"device", "driver", "mode", "link", ">queues", ">received", ">dropped", ">packets/s", ">Mbit/s", "state"}, rows)
	s.printWorkers(list)
	for i := range list {
		s.printPort(&list[i])
	}
	return nil
}

// name is the device without the arguments that one of DPDK's has.
func (p *portView) name() string {
	if p.Driver != "dpdk" {
		return p.Device
	}
	name, _, _ := strings.Cut(p.Device, ",")
	return name
}

func (p *portView) row() []string {
	received, dropped := uint64(0), p.Dropped
	for _, q := range p.Queues {
		received += q.Received
		dropped += q.Dropped
	}
	link := "-"
	if p.Link != nil {
		link = p.Link.State
		if p.Link.Mbps > 0 {
			link += " " + speed(p.Link.Mbps)
		}
	}
	return []string{
		p.name(), p.Driver, p.Mode, link, strconv.Itoa(len(p.Queues)), count(float64(received)), count(float64(dropped)),
		count(p.Packets), megabits(p.Bytes), firstOf(p.Err, "ok"),
	}
}

// speed writes 10000 as 10G.
func speed(mbps int) string {
	if mbps%1000 == 0 {
		return strconv.Itoa(mbps/1000) + "G"
	}
	return strconv.Itoa(mbps) + "M"
}

// gapColumns are the limits that a table of gaps shows, in seconds; the answer has more. What follows is as long as 5 ms or longer.
var gapColumns = []float64{10e-6, 80e-6, 640e-6, 5.002e-3}

func (s *session) printWorkers(list []portView) {
	var rows [][]string
	seen := make(map[string]bool)
	for i := range list {
		for _, w := range list[i].Workers {
			if seen[w.Name] {
				continue
			}
			seen[w.Name] = true
			rows = append(rows, w.row())
		}
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintln(s.out)
	s.table([]string{
		"worker", ">cpu", ">node", "idle", "keeps turn", ">busy", ">longest gap", ">gaps <10us", ">10-80us", ">80-640us", ">0.6-5ms", ">5ms and more",
	}, rows)
}

func (w *workerView) row() []string {
	cpu, node := "any", "-"
	if w.CPU >= 0 {
		cpu = strconv.Itoa(w.CPU)
	}
	if w.Node >= 0 {
		node = strconv.Itoa(w.Node)
	}
	longest := time.Duration(w.Gap * float64(time.Second))
	keeps := "no"
	if w.Keeps {
		keeps = "yes"
	}
	row := []string{w.Name, cpu, node, w.Idle, keeps, fmt.Sprintf("%.1f %%", 100*w.Busy), longest.Round(max(time.Microsecond/10, longest/1000)).String()}
	sums := make([]uint64, len(gapColumns)+1)
	for _, g := range w.Gaps {
		i := len(gapColumns)
		if g.Below > 0 {
			i, _ = slices.BinarySearch(gapColumns, g.Below)
		}
		sums[i] += g.Count
	}
	for _, n := range sums {
		row = append(row, count(float64(n)))
	}
	return row
}

// printPort shows a port's queues, where there are several, and the driver's own counters that are not zero.
func (s *session) printPort(p *portView) {
	var facts []string
	if p.name() != p.Device {
		facts = append(facts, p.Device)
	}
	if l := p.Link; l != nil {
		if l.Driver != "" {
			facts = append(facts, "kernel driver "+l.Driver)
		}
		facts = append(facts, fmt.Sprintf("MTU %d", l.MTU))
		if l.Address != "" {
			facts = append(facts, l.Address)
		}
	}
	if p.Reopens > 0 {
		facts = append(facts, fmt.Sprintf("opened again %d times", p.Reopens))
	}
	var own []string
	for _, name := range slices.Sorted(maps.Keys(p.Extra)) {
		if n := p.Extra[name]; n > 0 {
			own = append(own, name+" "+count(float64(n)))
		}
	}
	if len(own) > 0 {
		facts = append(facts, "the driver counts "+strings.Join(own, ", "))
	}
	if len(facts) > 0 {
		fmt.Fprintf(s.out, "\n%s: %s\n", p.name(), strings.Join(facts, "; "))
	}
	if len(p.Queues) < 2 {
		return
	}
	worker := make(map[int]string)
	for _, w := range p.Workers {
		for _, q := range w.Queues {
			worker[q] = w.Name
		}
	}
	var rows [][]string
	for i, q := range p.Queues {
		rows = append(rows, []string{
			fmt.Sprintf("%s/%d", p.name(), i), firstOf(worker[i], "-"), count(float64(q.Received)), count(float64(q.Bytes)), count(float64(q.Dropped)),
		})
	}
	s.table([]string{"queue", "worker", ">received", ">bytes", ">dropped"}, rows)
}
