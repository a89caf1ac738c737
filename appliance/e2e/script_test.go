package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/tools/trafficgen/send"
)

// notifyScript records each call in a file of the victim: a line of arguments, then the standard input.
const notifyScript = `#!/bin/sh
{ echo "CALL $# $*"; cat; } >> '%s'/"$1.calls"
`

// call is one call of the script.
type call struct {
	args  []string
	stdin string
}

// calls reads what the script recorded for a victim.
func calls(dir, victim string) (list []call, err error) {
	b, err := os.ReadFile(filepath.Join(dir, victim+".calls"))
	if err != nil {
		return nil, err
	}
	for _, text := range strings.Split(string(b), "CALL ")[1:] {
		first, stdin, _ := strings.Cut(text, "\n")
		list = append(list, call{strings.Fields(first), stdin})
	}
	return list, nil
}

// TestScript has a real notify script called over an attack on an IPv4 and an IPv6 host: ban, attack_details with packets of this
// attack, unban, in this order, with FastNetMon's arguments and standard input.
func TestScript(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	path := r.Path("notify.sh")
	if err := os.WriteFile(path, fmt.Appendf(nil, notifyScript, r.Dir), 0o700); err != nil {
		t.Fatal(err)
	}
	w := r.start(r.Base() + `
ports: [{driver: afxdp, device: w0}]
tick: 100ms
bans: {ban_time: 2s, quiet: 8s}
hostgroups: {global: {ban_for_pps: true, threshold_pps: 300}}
notify: {script: ` + path + `, attack_folder: ` + r.Path("attacks") + `}
`)
	victims := map[string]string{"10.0.7.1": `198\.1[89]\.`, "2001:db8:7::1": "2001:2:"} // and their attackers
	f := r.flood(attack("syn", 1000, "10.0.7.1", "2001:db8:7::1"), send.Config{})
	for v := range victims {
		r.wait("details of "+v, func() (bool, error) {
			list, err := calls(r.Dir, v)
			return len(list) >= 2, err
		})
	}
	f.stop()
	for v, peer := range victims {
		r.wait("unban of "+v, func() (bool, error) {
			list, err := calls(r.Dir, v)
			return len(list) >= 3, err
		})
		list, err := calls(r.Dir, v)
		if err != nil {
			t.Fatal(err)
		}
		checkCalls(t, v, peer, list)
		checkFolder(t, r.Path("attacks"), v, list)
	}
	if n := counter(t, w, "script_failed") + counter(t, w, "script_dropped"); n != 0 {
		t.Errorf("%v calls failed or were dropped", n)
	}
	files, err := filepath.Glob(r.Path("*.calls"))
	if err != nil || len(files) != len(victims) {
		t.Errorf("calls for %v, want those of %v only (%v)", files, victims, err)
	}
}

func checkCalls(t *testing.T, victim, peer string, list []call) {
	t.Helper()
	var actions []string
	for _, c := range list {
		if len(c.args) != 5 || c.args[0] != "4" || c.args[1] != victim || c.args[2] != "incoming" {
			t.Fatalf("%s: arguments %q", victim, c.args)
		}
		if pps, err := strconv.Atoi(c.args[3]); err != nil || pps <= 300 || pps > 100_000 {
			t.Errorf("%s: power %q of a flood of about 1000", victim, c.args[3])
		}
		actions = append(actions, c.args[4])
	}
	if !slices.Equal(actions, []string{"ban", "attack_details", "unban"}) {
		t.Fatalf("%s: actions %q", victim, actions)
	}
	report, details := list[0].stdin, list[1].stdin
	head := "IP: " + victim + "\nAttack type: syn_flood\nInitial attack power: " + list[0].args[3] + " packets per second\n"
	if !strings.HasPrefix(report, head) || !strings.Contains(report, "Attack direction: incoming\nAttack protocol: tcp\n") {
		t.Errorf("%s: report\n%s", victim, report)
	}
	rest, ok := strings.CutPrefix(details, report)
	if !ok {
		t.Errorf("%s: the details do not begin with the report:\n%s", victim, details)
	}
	packet := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} ` + peer + `\S+:\d+ > ` + regexp.QuoteMeta(victim) +
		`:\d+ protocol: tcp flags: syn frag: 0  packets: 1 size: \d+ bytes ttl: \d+ sample ratio: 1  $`)
	lines := strings.Split(strings.Trim(rest, "\n"), "\n")
	for _, line := range lines {
		if !packet.MatchString(line) {
			t.Errorf("%s: packet line %q", victim, line)
		}
	}
	if len(lines) < 10 {
		t.Errorf("%s: %d packets of the attack", victim, len(lines))
	}
	if list[2].stdin != "" {
		t.Errorf("%s: unban has a standard input: %q", victim, list[2].stdin)
	}
}

// checkFolder compares the attack folder's file with what the script got.
func checkFolder(t *testing.T, dir, victim string, list []call) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, victim+"_*.txt"))
	if err != nil || len(files) != 1 {
		t.Errorf("%s: reports %v (%v), want one", victim, files, err)
		return
	}
	b, err := os.ReadFile(files[0])
	if want := list[0].stdin + "\n\n" + list[1].stdin + "\n\n"; err != nil || string(b) != want {
		t.Errorf("%s: %v: report\n%s\nwant\n%s", victim, err, b, want)
	}
}
