// Package script runs the notify script with FastNetMon's contract: SCRIPT IP DIRECTION PPS ACTION, the attack report on
// standard input, no shell.
//
// A Runner is a notify.Notifier: Notify is called from the engine's tick and only queues. Workers of its own run the calls,
// those of one target strictly one after another. What goes wrong with a script is counted, logged and visible in
// Stats; it never reaches the caller, and never stops detection.
package script
