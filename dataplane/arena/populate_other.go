//go:build !linux || race

package arena

// Populate touches the pages of a part of what Make returned, so that whoever uses it next does not wait for the system. Here
// they come when they are first used.
func Populate[T any]([]T) {}

// Touch is Populate for what is used all over from the first moment on.
func Touch[T any]([]T) {}
