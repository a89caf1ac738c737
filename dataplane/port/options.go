package port

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// DecodeOptions copies opts into the struct that into points at, by json tag, and leaves absent fields as they are,
// so that the caller fills in defaults first. It is strict: an unknown key, a wrong type and a number that does
// not fit are errors. All problems are reported at once, each naming its key as "options.key".
func DecodeOptions(opts map[string]any, into any) error {
	known := optionNames(into)
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(opts)) {
		if !slices.Contains(known, key) {
			errs = append(errs, fmt.Errorf("options.%s: unknown option; there are %s", key, strings.Join(known, ", ")))
			continue
		}
		if err := decodeOption(key, opts[key], into); err != nil {
			errs = append(errs, fmt.Errorf("options.%s: %w", key, err))
		}
	}
	return errors.Join(errs...)
}

// decodeOption goes through JSON because that gives every type's own UnmarshalJSON and range check for free.
func decodeOption(key string, value, into any) error {
	if value == nil {
		return errors.New("has no value")
	}
	text, err := json.Marshal(map[string]any{key: value})
	if err != nil {
		return fmt.Errorf("value %v cannot be used: %w", value, err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return fmt.Errorf("%s does not fit, want %s", wrong.Value, kind(wrong.Type))
		}
		return err
	}
	return nil
}

// kind is a type in words.
func kind(t reflect.Type) string {
	if t == reflect.TypeFor[Duration]() {
		return "a duration such as 8ms"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Slice:
		return "a list of " + strings.TrimPrefix(kind(t.Elem()), "a ")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("a whole number from 0 to %d", uint64(1)<<(t.Bits()-1)<<1-1)
	default:
		return t.String()
	}
}

// optionNames lists the json names of the struct that into points at.
func optionNames(into any) []string {
	t := reflect.TypeOf(into).Elem()
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// Duration is a time.Duration that is written as text such as "8ms" in options.
type Duration time.Duration

// MarshalText writes d as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 8ms", text)
	}
	*d = Duration(v)
	return nil
}
