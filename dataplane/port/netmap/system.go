package netmap

import "time"

// system is the part of the operating system that the driver uses: the real one, or an emulated device in tests.
type system interface {
	// open opens /dev/netmap.
	open() (fd int, err error)
	// ctrl is ioctl NIOCCTRL: header is a struct nmreq_header, body what it points to; both are read and written.
	ctrl(fd int, header, body []byte) error
	// mmap maps the first size bytes of the memory behind fd.
	mmap(fd, size int) ([]byte, error)
	munmap(mem []byte) error
	// poll waits for at most d until one of fds has frames, and syncs all their receive rings. Broken says that one of
	// them reports an error, which a removed device does for ever.
	poll(fds []int, d time.Duration) (broken bool, err error)
	// rxsync is ioctl NIOCRXSYNC: it returns consumed slots and takes in new frames, without waiting.
	rxsync(fd int) error
	close(fd int) error
	// promiscuous makes a network interface take frames for any address until undo is called.
	promiscuous(device string) (undo func() error, err error)
}
