package netmap

// ioctl numbers: _IOWR('i', 151, struct nmreq_header) and _IO('i', 149), which has IOC_VOID set on FreeBSD.
const (
	nioCtrl   = 0xc0586997
	nioRxSync = 0x20006995
)
