// Package journal keeps on disk what must outlive the process: open incidents, what is in force, manual requests, the kill
// switch, and the audit of who did what. It is one file of an embedded store (bbolt), mode 0600.
//
// A Journal is safe from any goroutine; its methods block on the disk, so the engine calls Save from a goroutine of its own.
// Save is atomic and durable when it returns: after a kill -9 or a power cut, Load gives what the last Save that returned
// said, or what one that was under way says, never a mixture.
//
// It never takes the appliance down. A full or missing disk is an error of that call, and the next call tries again. A
// damaged file is moved aside, and since every Save has the whole state, a new one is complete at once. It never
// decides anything: what is restored is judged by the guard rails again.
package journal
