// Package api is the appliance's local interface: HTTP and JSON over a unix socket, with the paths, verbs and envelope that
// users of FastNetMon know (GET shows, PUT sets, DELETE deletes; words of the command joined by slashes). weirctl is one client.
//
// The package owns the candidate configuration: set and delete edit a text, commit checks it, applies it to the running
// appliance through Applier, and stores it; a refused commit changes nothing. Everything else it asks of Runtime, which the
// wiring implements. It knows no hot code and keeps no counters of traffic.
//
// Reading and changing are separate rights, decided for each connection by the kernel's word on who is at the other end
// (SO_PEERCRED), not by file modes: root and the appliance's own user may change, members of write_group too, members of
// read_group may read, everybody else is refused and told why. Every change is audited with user and process.
//
// Handlers run in the HTTP server's goroutines. Locks: Server.mu guards the candidate and is held over a whole commit;
// nothing else is locked under it but what Applier and Runtime lock themselves.
package api
