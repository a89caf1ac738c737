package arena

import "unsafe"

// Address is the address of s's first element, as a number for Prefetch: it keeps nothing alive and must never be
// turned back into a pointer. It is 0 for an empty slice.
func Address[T any](s []T) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(s))) }
