package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/appliance/config/strict"
	"github.com/weir-ddos/weir/dataplane/port"
)

// driver is a packet source whose options the reference shows.
type driver struct {
	name string
	// options are its Options with their defaults.
	options any
}

const driversIntro = `
## ports[].options

They depend on the driver. A duration is written with its unit here.
`

// drivers writes the options of every driver.
func (w *writer) drivers() error {
	w.WriteString(driversIntro)
	for _, d := range known {
		v := reflect.ValueOf(d.options)
		text, err := w.comments.of(v.Type(), "")
		if err != nil {
			return err
		}
		_, text, _ = strings.Cut(text, "under ports.options") // what stands before is the heading
		text = strings.TrimSpace(strings.TrimPrefix(text, "."))
		fmt.Fprintf(w, "\n### Driver %s\n\n", d.name)
		if text != "" {
			fmt.Fprintf(w, "%s\n\n", keyNames(text, v.Type()))
		}
		w.head()
		for _, f := range strict.Fields(v.Type()) {
			if err := w.option(f, v.FieldByIndex(f.Index)); err != nil {
				return fmt.Errorf("driver %s: %w", d.name, err)
			}
		}
	}
	return nil
}

// option writes one option of a driver.
func (w *writer) option(f strict.Field, v reflect.Value) error {
	text, err := w.comments.of(f.Owner, f.GoName)
	if err != nil {
		return err
	}
	def, err := json.Marshal(v.Interface())
	if err != nil {
		return err
	}
	kind := config.TypeName(f.Type)
	if f.Type == reflect.TypeFor[port.Duration]() {
		kind = "duration"
	}
	value := "`" + strings.Trim(string(def), `"`) + "`"
	if s := string(def); s == "null" || s == `""` || s == "[]" {
		value = ""
	}
	text = strings.ReplaceAll(keyNames(sentence(text, f.GoName), f.Owner), "|", `\|`)
	fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", f.Name, kind, value, text)
	return nil
}
