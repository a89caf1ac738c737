// Package porttest is the conformance suite that every port driver passes: Run exercises a driver as a worker would and
// fails where it differs from the contract in package port. It owns its frames (Build) and how it reads them (Collect),
// is called from a driver's tests, and never needs more of a driver than package port promises.
package porttest
