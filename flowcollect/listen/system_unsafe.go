//go:build linux

package listen

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Linux: the option that lets sockets share a port, and how many of them then receive.
const (
	reusePort  = unix.SO_REUSEPORT
	maxSharing = MaxSockets
)

func socket(family int) (int, error) {
	return unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
}

// setBuffer asks for a receive buffer and returns what the kernel gave. SO_RCVBUFFORCE goes beyond net.core.rmem_max and
// needs CAP_NET_ADMIN; the kernel doubles both for its own books.
func setBuffer(fd, size int) (int, error) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size); err != nil {
			return 0, os.NewSyscallError("setsockopt SO_RCVBUF", err)
		}
	}
	got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	return got / 2, os.NewSyscallError("getsockopt SO_RCVBUF", err)
}

// joinRuns asks the kernel for runs of datagrams of one size and sender in one piece (UDP_GRO, Linux 5.0), as network cards deliver them:
// a tenth of the cost of receiving each. Without it they come one by one.
func joinRuns(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_UDP, udpGRO, 1) }

// steer makes the kernel deal datagrams out to n sockets by chance. The program belongs to the whole group.
func steer(fd, n int) error {
	const random = 0xfffff000 + 56 // SKF_AD_OFF + SKF_AD_RANDOM (linux/filter.h)
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: random},
		{Code: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K, K: uint32(n)},
		{Code: unix.BPF_RET | unix.BPF_A},
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	return os.NewSyscallError("setsockopt SO_ATTACH_REUSEPORT_CBPF",
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &prog))
}

// memDrops reads the kernel's own counter: SK_MEMINFO_DROPS, the ninth word of SO_MEMINFO (Linux 4.12). It is also right while
// nothing arrives any more, and costs a datagram nothing; SO_RXQ_OVFL would tell the same with the next datagram, in a control
// message of each.
func memDrops(fd int) (uint32, bool) {
	const drops = 8
	var info [drops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	// Sound: the kernel writes at most size bytes and says how many.
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0)
	return info[drops], errno == 0 && size >= uint32(unsafe.Sizeof(info))
}
