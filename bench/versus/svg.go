package versus

import (
	"fmt"
	"html"
	"io"
	"strings"
)

// Measures of the drawing, in pixels.
const (
	drawWidth  = 860
	drawLabels = 330 // left of the bars
	drawBars   = 330 // the longest bar
	drawRow    = 22
	drawBar    = 14
	drawTitle  = 44
	drawMargin = 20
)

// Colours by Kind: what is ours stands out, what only counts recedes.
var colours = map[Kind]string{Ours: "#0b6e99", Floor: "#b8bec5", Tool: "#8d96a0", Peer: "#d9822b"}

// SVG draws the results: a panel for each scenario and rate, in it a bar for each side as long as its nanoseconds
// of CPU a packet, with a line from its least to its most. Every panel has a scale of its own. Heading and footing are lines of text.
func SVG(w io.Writer, heading, footing string, results []Result) error {
	var b strings.Builder
	y := drawMargin
	text := func(x, y, size int, anchor, fill, s string) {
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" font-size=\"%d\" text-anchor=\"%s\" fill=\"%s\">%s</text>\n", x, y, size, anchor, fill, html.EscapeString(s))
	}
	y += 18
	text(drawMargin, y, 17, "start", "#1c2126", heading)
	for _, panel := range panels(results) {
		y += drawTitle
		text(drawMargin, y-12, 13, "start", "#1c2126", panel[0].Scenario.About+", "+RateName(panel[0].Rate))
		longest := 0.0
		for _, r := range panel {
			longest = max(longest, r.Median())
			if ns := r.Nanoseconds(); len(ns) > 0 {
				longest = max(longest, ns[len(ns)-1])
			}
		}
		for _, r := range panel {
			drawSide(&b, text, r, y, longest)
			y += drawRow
		}
	}
	y += 24
	for line := range strings.SplitSeq(footing, "\n") {
		text(drawMargin, y, 11, "start", "#6a737d", line)
		y += 16
	}
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="Helvetica, Arial, sans-serif">
<rect width="100%%" height="100%%" fill="#ffffff"/>
%s</svg>
`, drawWidth, y, drawWidth, y, b.String())
	return err
}

// drawSide draws one bar with its label and its figure.
func drawSide(b *strings.Builder, text func(x, y, size int, anchor, fill, s string), r Result, y int, longest float64) {
	base := y + drawBar - 3
	weight := "#444c56"
	if r.Side.Kind == Ours {
		weight = "#0b4f6c"
	}
	text(drawLabels, base, 12, "end", weight, r.Side.Label)
	if r.Missing != "" {
		text(drawLabels+8, base, 11, "start", "#8d96a0", r.Missing)
		return
	}
	if len(r.Runs) == 0 {
		text(drawLabels+8, base, 11, "start", "#8d96a0", "not measured")
		return
	}
	scale := func(ns float64) int { return max(1, int(drawBars*ns/longest+0.5)) }
	ns := r.Nanoseconds()
	length, least, most := scale(r.Median()), scale(ns[0]), scale(ns[len(ns)-1])
	opacity := "1"
	if r.Side.Polls || r.Missed() > 0 && !r.Loses() { // not to be compared
		opacity = "0.35"
	}
	fmt.Fprintf(b, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"2\" fill=\"%s\" fill-opacity=\"%s\"/>\n",
		drawLabels+8, y, length, drawBar, colours[r.Side.Kind], opacity)
	if len(ns) > 1 {
		fmt.Fprintf(b, "<path d=\"M%d %dh%dm0 -3v6\" stroke=\"#1c2126\" fill=\"none\"/>\n", drawLabels+8+least, y+drawBar/2, most-least)
	}
	text(drawLabels+8+most+6, base, 12, "start", "#1c2126", figure(r))
}

// figure is a result in a few words.
func figure(r Result) string {
	s := fmt.Sprintf("%.0f ns", r.Median())
	if r.Side.Polls {
		s += ", never sleeps"
	}
	switch missed := 100 * r.Missed(); {
	case missed < 0.005:
	case r.Loses():
		s += fmt.Sprintf(", %.3g %% lost", missed)
	default:
		s += fmt.Sprintf(", %.3g %% not parsed", missed)
	}
	return s
}

// panels groups results that belong together: the same scenario and rate one after the other.
func panels(results []Result) (list [][]Result) {
	for i, r := range results {
		if i == 0 || r.Scenario.Name != results[i-1].Scenario.Name || r.Rate != results[i-1].Rate {
			list = append(list, nil)
		}
		list[len(list)-1] = append(list[len(list)-1], r)
	}
	return list
}
