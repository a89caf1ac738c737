// Package dpdktest puts frames into the rings of DPDK's net_ring devices, for tests of package dpdk in the same process. It
// is empty without the tag dpdk. It is never part of the product.
package dpdktest
