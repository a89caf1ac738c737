// Package hotcheck holds what the compiler says of the hot packages against a list that is kept: where it could not prove an index in
// range and left a check in (testdata/bounds.txt). A new line there is a branch for every packet that somebody should have looked at;
// `go test ./tools/hotcheck -update` writes the list anew. It is a test alone: nothing calls it, and it runs only the go command.
package hotcheck
