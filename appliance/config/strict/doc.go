// Package strict binds a YAML node tree to typed Go structs and back.
//
// It owns three things that ordinary YAML decoding lacks: every problem is reported at once and with its line; a key
// that no struct knows, a key given twice, a missing value, a wrong type or an alias is an error; and the line of every key
// is remembered, so that a later semantic check can be reported at the line it speaks of.
//
// Names come from the json tags of the structs, the same that the API uses. Functions here are pure and may be called
// from any goroutine. The package never reads files and knows no configuration in particular.
package strict
