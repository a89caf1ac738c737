// Package notify says what is told to the outside when an incident begins, is explained, and ends: the Event, the attack
// report as text, and the attack folder that keeps those texts.
//
// The engine makes an Event of each transition that matters (FromTransition) and hands it to every Notifier from the
// tick's goroutine; a Notifier therefore never blocks: it queues, or drops and counts. The package knows the text
// formats of FastNetMon, on which users' scripts depend, and nothing of processes or networks; mitigate/script runs
// the script.
package notify
