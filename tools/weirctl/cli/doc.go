// Package cli is weirctl: it turns words into requests to the appliance's API and answers into tables.
//
// The grammar is fcli's: show, set and delete with a noun and its words, commit, and beside these diff, discard, rollback,
// export, import, reload. What a word means is decided by the appliance, so an old weirctl knows a new appliance's options;
// this package knows only how to ask and how to print. It imports nothing of the appliance. One goroutine does everything.
//
// Exit status: 0 done, 1 refused or failed, 2 wrong usage.
package cli
