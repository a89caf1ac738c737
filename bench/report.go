package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// Row is one line of the table.
type Row struct {
	// Scenario and Case say what was measured.
	Scenario string `json:"scenario"`
	Case     string `json:"case"`
	// Median, Min and Max are over Runs repetitions, in Unit: ns, ms, s, Mpps, B, or x for a ratio.
	Unit   string  `json:"unit"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Runs   int     `json:"runs"`
	// Beside are figures of the same run that this one is to be seen next to.
	Beside []Beside `json:"beside,omitempty"`
	// Targets are those of DESIGN.md 8 that concern this row.
	Targets []Target `json:"targets,omitempty"`
}

// Beside is another figure.
type Beside struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// Target is a limit, and the figure that is held against it.
type Target struct {
	// Text says where the limit comes from, when it is not DESIGN.md's own number.
	Text  string  `json:"text,omitempty"`
	Limit float64 `json:"limit"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Least and Most are between what parts of the limit the value lies when limit and value are taken from the same turn each; both 0 where
	// there are no turns.
	Least float64 `json:"least,omitempty"`
	Most  float64 `json:"most,omitempty"`
	// AtLeast means that the value must not be below the limit; else it must not be above.
	AtLeast bool `json:"at_least,omitempty"`
	// Met is set when the report is made.
	Met bool `json:"met"`
}

func (t Target) met() bool {
	if t.AtLeast {
		return t.Value >= t.Limit
	}
	return t.Value <= t.Limit
}

func (t Target) String() string {
	sign := "≤"
	if t.AtLeast {
		sign = "≥"
	}
	text := sign + " " + number(t.Limit, t.Unit)
	if t.Text != "" {
		text += " (" + t.Text + ")"
	}
	return text
}

// verdict says by how much the target is met or missed, in percent of the limit.
func (t Target) verdict() string {
	text := t.judge()
	if t.Most > 0 {
		text += fmt.Sprintf(" (%.0f to %.0f %% of it turn by turn)", 100*t.Least, 100*t.Most)
	}
	return text
}

func (t Target) judge() string {
	off := math.Round(100 * math.Abs(t.Value-t.Limit) / t.Limit)
	switch {
	case t.Limit != 0:
	case t.met():
		return "met"
	default:
		return "**missed by " + number(t.Value, t.Unit) + "**"
	}
	if t.met() {
		return fmt.Sprintf("met, %.0f %% to spare", off)
	}
	return fmt.Sprintf("**missed by %.0f %%**", off)
}

// verdict joins the verdicts of all targets; it is empty without any.
func (r Row) verdict(first, between string) string {
	var list []string
	for _, t := range r.Targets {
		list = append(list, t.verdict())
	}
	if list == nil {
		return ""
	}
	return first + strings.Join(list, between)
}

// number writes a figure with the digits that it deserves.
func number(v float64, unit string) string {
	if unit == "" {
		return bare(v, unit)
	}
	return bare(v, unit) + " " + unit
}

// bare is number without the unit behind it.
func bare(v float64, unit string) string {
	digits := 0
	switch {
	case unit == "B" || unit == "":
	case unit == "x":
		digits = 2
	case unit == "s" && v < 10:
		digits = 3
	case v < 100:
		digits = 1
	}
	text := fmt.Sprintf("%.*f", digits, v)
	if unit == "" { // a count: digits in groups of three
		for at := len(text) - 3; at > 0; at -= 3 {
			text = text[:at] + " " + text[at:]
		}
	}
	return text
}

// Report is the table and what stands above it.
type Report struct {
	Machine string    `json:"machine"`
	Kernel  string    `json:"kernel"`
	Go      string    `json:"go"`
	Commit  string    `json:"commit"`
	Date    time.Time `json:"date"`
	// Load is the load average of one minute when the run began and when it ended: far above 0 at the beginning, the
	// machine was not quiet.
	Load [2]string `json:"load"`
	// Versions are those of other programs that were measured.
	Versions []string `json:"versions,omitempty"`
	// Took is how long all of it took, in seconds.
	Took  float64 `json:"took_seconds"`
	Quick bool    `json:"quick"`
	// Faults are scenarios that could not run and results that are wrong.
	Faults []string `json:"faults,omitempty"`
	Rows   []Row    `json:"rows"`
}

func (r *Report) finish(rows []Row, err error) {
	r.Took = time.Since(r.Date).Seconds()
	r.Load[1] = loadAverage()
	r.Rows = rows
	for i := range rows {
		for j := range rows[i].Targets {
			rows[i].Targets[j].Met = rows[i].Targets[j].met()
		}
	}
	if err == nil {
		return
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !strings.HasPrefix(line, "\t") { // a log, which standard error has
			r.Faults = append(r.Faults, line)
		}
	}
}

// JSON writes the report as one object.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// heading is what stands above a table.
func (r *Report) heading() string {
	text := fmt.Sprintf("%s, %s, %s, commit %s, %s; load %s before and %s after, took %.0f s.", r.Machine, r.Kernel, r.Go, r.Commit,
		r.Date.Format("2006-01-02"), r.Load[0], r.Load[1], r.Took)
	if len(r.Versions) > 0 {
		text += "\nNext to it: " + strings.Join(r.Versions, ", ") + "."
	}
	if r.Quick {
		text += "\nQuick run: not to be quoted."
	}
	return text
}

// Markdown writes the report as a paragraph and a table.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString(r.heading())
	b.WriteString("\n\n| | Case | Median | Range | Next to it | Target | |\n|---|---|---|---|---|---|---|\n")
	last := ""
	for _, row := range r.Rows {
		name := row.Scenario
		if name == last {
			name = ""
		}
		last = row.Scenario
		if row.Runs == 0 {
			fmt.Fprintf(&b, "| %s | %s | | | | | |\n", name, row.Case)
			continue
		}
		var beside, targets []string
		for _, x := range row.Beside {
			beside = append(beside, x.Name+" "+number(x.Value, x.Unit))
		}
		for _, t := range row.Targets {
			targets = append(targets, t.String())
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s .. %s | %s | %s | %s |\n", name, row.Case, number(row.Median, row.Unit), bare(row.Min, row.Unit),
			bare(row.Max, row.Unit), strings.Join(beside, ", "), strings.Join(targets, "; "), row.verdict("", "; "))
	}
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "\nFAULT: %s\n", f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
