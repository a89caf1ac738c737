package main

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/appliance/config/strict"
	"github.com/weir-ddos/weir/controlplane/mitigate"
)

const intro = `# weir.yaml, every key

Generated from the source by ` + "`make docs`" + `; do not edit.

The file is one YAML mapping. Every key has a default except ` + "`networks` and `ports`" + `. An unknown key, a key given twice,
a key without a value, a value of the wrong type and a YAML alias are errors, all reported at once with their lines by
` + "`weir check -c FILE`" + `. The same keys, joined by dots, are the options of ` + "`weirctl set main KEY VALUE`" + `;
hostgroups, BGP peers and ports are objects of their own: ` + "`weirctl set hostgroup NAME KEY VALUE`" + `.

| Type | Written as |
|---|---|
| duration | ` + "`500ms`, `30s`, `10m`, `2h`" + `, or a whole number of seconds |
| network | ` + "`192.0.2.0/24`, `2001:db8::/32`" + `; a single address stands for itself |
| address | ` + "`192.0.2.1`, `2001:db8::1`" + ` |
| bool | ` + "`true`, `false`" + `; ` + "`enable`, `disable`" + ` as in fcli |
| size | ` + "`4GiB`, `512MiB`, `64KiB`" + `, or a number of bytes |
| number | a number; whole ones may have underscores, ` + "`20_000`" + ` |
| list | ` + "`[a, b]`" + `, or one line each with a dash |

The smallest configuration:

` + "```yaml" + `
networks: [192.0.2.0/24, 2001:db8::/32]
ports:
  - {driver: afxdp, device: eth1}
hostgroups:
  global: {ban_for_pps: true, threshold_pps: 20000}
` + "```" + `
`

// writer collects the sections.
type writer struct {
	bytes.Buffer
	comments *comments
}

// Markdown is the whole reference.
func Markdown() ([]byte, error) {
	c, err := newComments()
	if err != nil {
		return nil, err
	}
	w := &writer{comments: c}
	w.WriteString(intro)
	def := config.Default()
	// What hostgroups leave out everywhere is decided by the default policy; show that as their default.
	group := config.Hostgroup{Policy: mitigate.DefaultPolicy()}
	def.Hostgroups = map[string]config.Hostgroup{"global": group}
	v := reflect.ValueOf(*def)
	var sections []strict.Field
	w.WriteString("\n## At the top\n\n")
	w.head()
	for _, f := range strict.Fields(v.Type()) {
		if config.TypeName(f.Type) == "" {
			sections = append(sections, f)
			continue
		}
		if err := w.row(f, v.FieldByIndex(f.Index)); err != nil {
			return nil, err
		}
	}
	for _, f := range sections {
		if err := w.section(f, f.Name, v.FieldByIndex(f.Index)); err != nil {
			return nil, err
		}
		if f.Name == "ports" {
			if err := w.drivers(); err != nil {
				return nil, err
			}
		}
	}
	return w.Bytes(), nil
}

func (w *writer) head() { w.WriteString("| Key | Type | Default | Meaning |\n|---|---|---|---|\n") }

// section writes a key that holds a struct, or a map or list of structs, and those inside it.
func (w *writer) section(f strict.Field, path string, v reflect.Value) error {
	text, err := w.comments.of(f.Owner, f.GoName)
	if err != nil {
		return err
	}
	t, how := f.Type, ""
	switch t.Kind() {
	case reflect.Map:
		t, how = t.Elem(), " Each entry has a name."
		path += ".NAME"
		v = firstEntry(v, t)
	case reflect.Slice:
		t, how = t.Elem(), " A list."
		path += "[]"
		v = firstEntry(v, t)
	}
	fmt.Fprintf(w, "\n## %s\n\n%s%s\n\n", path, sentence(text, f.GoName), how)
	w.head()
	var inner []strict.Field
	for _, g := range strict.Fields(t) {
		if config.TypeName(g.Type) == "" {
			inner = append(inner, g)
			continue
		}
		if err := w.row(g, v.FieldByIndex(g.Index)); err != nil {
			return err
		}
	}
	for _, g := range inner {
		if err := w.section(g, path+"."+g.Name, v.FieldByIndex(g.Index)); err != nil {
			return err
		}
	}
	return nil
}

// firstEntry is an entry to take defaults from: the one there is, or an empty one.
func firstEntry(v reflect.Value, t reflect.Type) reflect.Value {
	if v.Kind() == reflect.Map && v.Len() > 0 {
		return v.MapIndex(v.MapKeys()[0])
	}
	return reflect.Zero(t)
}

func (w *writer) row(f strict.Field, v reflect.Value) error {
	text, err := w.comments.of(f.Owner, f.GoName)
	if err != nil {
		return err
	}
	def, err := defaultText(f, v)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", f.Name, config.TypeName(f.Type), def, strings.ReplaceAll(multiName(sentence(text, f.GoName), f), "|", `\|`))
	return nil
}

// defaultText is the default as YAML; nothing for what is unset.
func defaultText(f strict.Field, v reflect.Value) (string, error) {
	if v.Kind() == reflect.Pointer && v.IsNil() || f.Omit && v.IsZero() {
		return "", nil
	}
	n, err := strict.Encode(v.Interface())
	if err != nil {
		return "", err
	}
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 || n.Kind == yaml.ScalarNode && n.Value == "" {
		return "", nil
	}
	return "`" + config.Inline(n) + "`", nil
}

// multiName translates a comment that speaks of several fields by their Go names.
func multiName(text string, f strict.Field) string {
	if !strings.Contains(text, " and ") || !camel.MatchString(text) {
		return text
	}
	return keyNames(text, f.Owner)
}

// camel matches a Go name of several words.
var camel = regexp.MustCompile(`\b[A-Z][a-z]+[A-Z]`)

// sentence drops the Go name that a comment begins with and makes the rest a sentence: "Queues is how many" becomes
// "How many", "Queues: how many" too. A text that begins with the values themselves keeps them as they are written.
func sentence(text, name string) string {
	for _, verb := range []string{" is ", " are ", ": "} {
		if rest, ok := strings.CutPrefix(text, name+verb); ok {
			return upper(rest)
		}
	}
	if rest, ok := strings.CutPrefix(text, name+" "); ok && !strings.HasPrefix(rest, "and ") {
		return upper(rest)
	}
	return text
}

// values matches a text that begins with a list of values: "window (the default) or average".
var values = regexp.MustCompile(`^[a-z_-]+( \(|, | or )`)

func upper(s string) string {
	if values.MatchString(s) {
		return s
	}
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// keyNames puts the keys of a struct in the place of their Go names, which a reader of weir.yaml does not know.
func keyNames(text string, t reflect.Type) string {
	for _, f := range strict.Fields(t) {
		if f.GoName != f.Name && strings.Contains(text, f.GoName) {
			text = regexp.MustCompile(`\b`+f.GoName+`\b`).ReplaceAllString(text, "`"+f.Name+"`")
		}
	}
	return text
}
