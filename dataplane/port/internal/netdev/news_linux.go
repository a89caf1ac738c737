package netdev

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// news is a route netlink socket on which the kernel tells what happens to devices, of any name.
type news struct {
	file *os.File
	came chan struct{} // holds one when there was news since it was taken
	done chan struct{}
}

// hear listens in the calling thread's network namespace. It needs no rights.
func hear() (*news, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for news of devices: %w", err), unix.Close(fd))
	}
	n := &news{file: os.NewFile(uintptr(fd), "netlink"), came: make(chan struct{}, 1), done: make(chan struct{})}
	go n.read()
	return n, nil
}

// read says that there was news; what it was is asked for.
func (n *news) read() {
	defer close(n.done)
	var head [unix.SizeofNlMsghdr]byte // the rest of a message is thrown away
	for {
		if _, err := n.file.Read(head[:]); err != nil && !errors.Is(err, unix.ENOBUFS) { // that much news that some is lost
			return
		}
		select {
		case n.came <- struct{}{}:
		default:
		}
	}
}

func (n *news) close() error {
	err := n.file.Close()
	<-n.done
	return err
}
