// Package edit changes single values of a YAML text and leaves the rest of it as the user wrote it.
//
// A Doc holds a text and its node tree. Each change is made on a copy of the tree, and then on the text by the smallest
// edit that has that effect: one value, one line, one section; only when none works is the whole text written anew (comments
// and order kept, blank lines lost). An edit counts only when the edited text parses to exactly the changed tree, so a clever
// splice can never change the meaning. A Doc is not safe for concurrent use; the API's server owns one under its lock.
package edit
