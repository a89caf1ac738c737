package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// screen prints lines that stay, and on a terminal a block below them that is renewed in place.
type screen struct {
	w io.Writer
	// live is set on a terminal: the block is shown. colour and blocks say what the terminal can do.
	live, colour, blocks bool
	// width gives the terminal's columns.
	width func() int
	shown int      // lines of the block on the terminal now
	block []string // its text
}

// newScreen looks at what w is. Colours are left out when NO_COLOR is set (https://no-color.org).
func newScreen(w io.Writer, env func(string) string) *screen {
	s := &screen{w: w, width: func() int { return 100 }}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || env("TERM") == "dumb" {
		return s
	}
	s.live, s.colour = true, env("NO_COLOR") == ""
	locale := strings.ToUpper(cmp.Or(env("LC_ALL"), env("LC_CTYPE"), env("LANG")))
	s.blocks = strings.Contains(locale, "UTF-8") || strings.Contains(locale, "UTF8")
	s.width = func() int {
		if ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && ws.Col > 0 {
			return int(ws.Col)
		}
		return 80
	}
	return s
}

// The colours, as SGR parameters.
const (
	bold   = "1"
	dim    = "2"
	red    = "1;31"
	green  = "1;32"
	yellow = "1;33"
	cyan   = "36"
)

// paint colours text where colours are possible.
func (s *screen) paint(sgr, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

// line prints a line that stays, above the block.
func (s *screen) line(format string, args ...any) {
	io.WriteString(s.w, s.erase()+fmt.Sprintf(format+"\n", args...)+s.draw()) //nolint:errcheck // nobody to tell
}

// status renews the block; without lines it goes. Without a terminal it does nothing.
func (s *screen) status(lines ...string) {
	if !s.live {
		return
	}
	old := s.erase()
	s.block = lines
	io.WriteString(s.w, old+s.draw()) //nolint:errcheck // nobody to tell
}

// erase is what removes the block from the terminal. One write does it all, so that nothing flickers.
func (s *screen) erase() string {
	n := s.shown
	if s.shown = 0; n == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\x1b[J", n)
}

// draw is what puts it there.
func (s *screen) draw() string {
	if !s.live {
		return ""
	}
	var b strings.Builder
	width := s.width() - 1 // a full last column would wrap
	for _, l := range s.block {
		b.WriteString(clip(l, width) + "\n")
	}
	s.shown = len(s.block)
	return b.String()
}

// clip cuts a line at width columns; escape sequences take none.
func clip(l string, width int) string {
	n := 0
	for i := 0; i < len(l); {
		if l[i] == '\x1b' {
			if end := strings.IndexByte(l[i:], 'm'); end >= 0 {
				i += end + 1
				continue
			}
		}
		if n == width {
			return l[:i] + "\x1b[0m"
		}
		_, size := utf8.DecodeRuneInString(l[i:])
		i += size
		n++
	}
	return l
}

// The steps of a column in a spark line, from nothing to full.
var (
	sparkBlocks = []rune(" ▁▂▃▄▅▆▇█")
	sparkASCII  = []rune(" ..::-=+#")
)

// spark draws a history of values, the newest at the right, scaled so that top is full. It is width runes wide.
func (s *screen) spark(history []float64, top float64, width int) string {
	steps := sparkASCII
	if s.blocks {
		steps = sparkBlocks
	}
	out := []rune(strings.Repeat(" ", max(0, width-len(history))))
	for _, v := range history[max(0, len(history)-width):] {
		i := 0
		if v > 0 && top > 0 {
			full := len(steps) - 1
			i = min(full, int(math.Ceil(v/top*float64(full))))
		}
		out = append(out, steps[i])
	}
	return string(out)
}

// bar draws one value as a bar of up to width signs. The smallest value that is not zero is one sign.
func bar(v, top float64, width int) string {
	n := 0
	if v > 0 && top > 0 {
		n = max(1, min(width, int(math.Round(v/top*float64(width)))))
	}
	return strings.Repeat("#", n) + strings.Repeat(".", width-n)
}

// count writes a whole number with thousands apart: 1,234,567.
func count(v float64) string {
	text := fmt.Sprintf("%.0f", math.Abs(v))
	var b strings.Builder
	if v <= -0.5 {
		b.WriteByte('-')
	}
	for i, c := range text {
		if i > 0 && (len(text)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}
