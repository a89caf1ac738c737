// Package dpdk holds the end-to-end tests of the product as `make build-dpdk` builds it: what `weir run` counts through DPDK's
// virtual devices is what `weir replay` counts of the same capture, and an attack is found.
//
// It has no code of its own but tests, which need the tag dpdk, DPDK, and root for network namespaces; `make test-dpdk`
// runs them. Each has a lab (tools/lab) and processes of its own, so they run side by side.
package dpdk
