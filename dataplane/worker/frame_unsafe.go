package worker

import (
	"unsafe"

	"github.com/weir-ddos/weir/dataplane/port"
)

// frameSize is how far apart the frames of a burst are. Sound: it is the compiler's own constant.
const frameSize = unsafe.Sizeof(port.Frame{})
