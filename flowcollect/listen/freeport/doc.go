// Package freeport finds ports for tests and benchmarks whose receiver starts later, or in another process. It keeps none of them, may be
// called from any goroutine, and is no part of the product.
package freeport
