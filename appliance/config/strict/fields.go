package strict

import (
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Field is one configuration key of a struct.
type Field struct {
	// Name is the key, from the json tag; Index leads to the field, through embedded structs.
	Name  string
	Index []int
	// Type is the field's type; Owner and GoName say where its comment stands.
	Type   reflect.Type
	Owner  reflect.Type
	GoName string
	// Omit is set for tags with omitempty or omitzero: Encode leaves a zero value out.
	Omit bool
}

// known has what Fields found: types are few, and a configuration's are asked for again and again.
var known sync.Map // reflect.Type -> []Field

// Fields lists the keys of struct type t in the order of the source; fields of embedded structs without a tag stand
// where the embedded struct stands. Fields tagged "-" and unexported ones are not keys. The list is shared: it is only read.
func Fields(t reflect.Type) []Field {
	if list, ok := known.Load(t); ok {
		return list.([]Field)
	}
	list := fieldsOf(t)
	known.Store(t, list)
	return list
}

func fieldsOf(t reflect.Type) []Field {
	var out []Field
	for i := range t.NumField() {
		f := t.Field(i)
		tag, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == "-" || (!f.IsExported() && !f.Anonymous) {
			continue
		}
		if f.Anonymous && tag == "" && f.Type.Kind() == reflect.Struct {
			for _, inner := range Fields(f.Type) {
				inner.Index = append([]int{i}, inner.Index...)
				out = append(out, inner)
			}
			continue
		}
		if tag == "" {
			tag = strings.ToLower(f.Name)
		}
		out = append(out, Field{
			Name: tag, Index: []int{i}, Type: f.Type, Owner: t, GoName: f.Name,
			Omit: strings.Contains(opts, "omitempty") || strings.Contains(opts, "omitzero"),
		})
	}
	return out
}

// Near returns the known words that look like word, best first, at most three.
func Near(word string, known []string) []string {
	type scored struct {
		name string
		dist int
	}
	var found []scored
	limit := max(2, len(word)/3)
	for _, k := range known {
		d := distance(word, k)
		if d > limit && (len(word) < 3 || !strings.Contains(k, word)) {
			continue
		}
		found = append(found, scored{k, d})
	}
	slices.SortStableFunc(found, func(a, b scored) int { return a.dist - b.dist })
	var out []string
	for _, s := range found[:min(3, len(found))] {
		out = append(out, s.name)
	}
	return out
}

// distance is the edit distance of two words (Levenshtein), over bytes; long words are not compared.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diag+cost)
		}
	}
	return row[len(b)]
}
