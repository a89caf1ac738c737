package versus

import (
	"fmt"
	"io"
	"strings"
)

// Markdown writes the results as a table. Heading is the text above it.
func Markdown(w io.Writer, heading string, results []Result) error {
	var b strings.Builder
	b.WriteString(heading)
	b.WriteString("\n\n| Scenario | Side | CPU a packet | Range | Offered | Not counted | Idle |\n|---|---|---|---|---|---|---|\n")
	for _, panel := range panels(results) {
		name := panel[0].Scenario.About + ", " + RateName(panel[0].Rate)
		for _, r := range panel {
			if r.Missing != "" {
				fmt.Fprintf(&b, "| %s | %s | not run: %s | | | | |\n", name, r.Side.Label, r.Missing)
			} else if len(r.Runs) > 0 {
				ns := r.Nanoseconds()
				fmt.Fprintf(&b, "| %s | %s | %.0f ns%s | %.0f .. %.0f | %.3f Mpps | %s | %.1f %% |\n", name, r.Side.Label, r.Median(), asleep(r.Side.Polls),
					ns[0], ns[len(ns)-1], r.Offered()/1e6, missing(r), 100*r.Runs[0].Idle)
			}
			name = ""
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// missing says what became of the packets that a side has not counted.
func missing(r Result) string {
	text := fmt.Sprintf("%.2f %%", 100*r.Missed())
	if r.Missed() > 0 && !r.Loses() {
		text += " (cannot parse them)"
	}
	return text
}

// asleep marks what never sleeps.
func asleep(polls bool) string {
	if polls {
		return " (never sleeps)"
	}
	return ""
}
