//go:build linux || freebsd

package netmap

import "testing"

// Numbers as measured on the real module (PACKETIO.md 1): a slip of the pen in layout.go must not pass.
func TestLayout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"api", apiVersion, 14},
		{"nmreq_header", hdrSize, 88},
		{"version", hdrVersion, 0},
		{"reqtype", hdrType, 2},
		{"name", hdrName, 8},
		{"options", hdrOptions, 72},
		{"body", hdrBody, 80},
		{"nmreq_register", regSize, 56},
		{"offset", regOffset, 0},
		{"memsize", regMemSize, 8},
		{"tx_slots", regTxSlots, 16},
		{"rx_slots", regRxSlots, 20},
		{"tx_rings", regTxRings, 24},
		{"rx_rings", regRxRings, 26},
		{"mem_id", regMemID, 32},
		{"ringid", regRingID, 34},
		{"mode", regMode, 36},
		{"flags", regFlags, 48},
		{"nmreq_port_info_get", infoSize, 32},
		{"info memsize", infoMemSize, 0},
		{"info rx_slots", infoRxSlots, 12},
		{"info rx_rings", infoRxRings, 18},
		{"ni_version", ifVersion, 16},
		{"ni_tx_rings", ifTxRings, 24},
		{"ni_rx_rings", ifRxRings, 28},
		{"ni_host_tx_rings", ifHostTx, 36},
		{"ni_host_rx_rings", ifHostRx, 40},
		{"ring_ofs", ifRings, 56},
		{"buf_ofs", ringBufOfs, 0},
		{"num_slots", ringNumSlots, 8},
		{"nr_buf_size", ringBufSize, 12},
		{"ringid", ringID, 16},
		{"dir", ringDir, 18},
		{"head", ringHead, 20},
		{"cur", ringCur, 24},
		{"tail", ringTail, 28},
		{"flags", ringFlags, 32},
		{"ts", ringTime, 40},
		{"slots", ringSlots, 256},
		{"netmap_slot", slotSize, 16},
		{"buf_idx", slotBuf, 0},
		{"len", slotLen, 4},
		{"slot flags", slotFlags, 6},
		{"REGISTER", reqRegister, 1},
		{"PORT_INFO_GET", reqPortInfo, 2},
		{"ALL_NIC", modeAllNIC, 1},
		{"ONE_NIC", modeOneNIC, 4},
		{"MONITOR_TX", flagMonitorTX, 0x100},
		{"MONITOR_RX", flagMonitorRX, 0x200},
		{"EXCLUSIVE", flagExclusive, 0x800},
		{"NO_TX_POLL", flagNoTxPoll, 0x20000},
		{"MOREFRAG", moreFrag, 0x20},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.what, c.got, c.want)
		}
	}
}

// The numbers follow from _IOWR('i', 151, struct nmreq_header) and _IO('i', 149).
func TestIoctlNumbers(t *testing.T) {
	t.Parallel()
	if want := uint64(3<<30 | hdrSize<<16 | 'i'<<8 | 151); nioCtrl != want {
		t.Errorf("NIOCCTRL is %#x, want %#x", uint64(nioCtrl), want)
	}
	const linux, freebsd = 'i'<<8 | 149, 0x20000000 | 'i'<<8 | 149
	if nioRxSync != linux && nioRxSync != freebsd {
		t.Errorf("NIOCRXSYNC is %#x", uint64(nioRxSync))
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	h := request(reqRegister, "vale0:weir")
	if len(h) != 88 || h[0] != 14 || h[1] != 0 || h[2] != 1 || string(h[8:19]) != "vale0:weir\x00" || nameOf(h) != "vale0:weir" {
		t.Errorf("% x", h)
	}
}
