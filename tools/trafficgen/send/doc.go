// Package send puts generated frames onto a network interface at the moments that their scenario gives them.
//
// Run does all of it in the calling goroutine: it paces, hands the kernel batches of frames through a packet socket (sendmmsg), and
// reports each frame that the kernel took, so that a truth made from the reports is exact even when some were refused.
// It needs CAP_NET_RAW, and changes nothing of the interface.
package send
