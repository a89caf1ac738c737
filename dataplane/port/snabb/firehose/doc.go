// Command firehose is the library that Snabb loads: snabb firehose -i PCIADDRESS weir-firehose.so. It is built as a C shared
// object (make build-snabb: tag snabb, cgo, glibc) and is empty without the tag.
//
// Snabb calls firehose_callback_v1 in an endless loop, on one thread, for each NIC in turn. That function and all that it does with
// a frame are C (firehose.c) and never enter Go: it copies the frames that are ready into the ring of the NIC's reader, if
// there is one, and hands their buffers back. Go runs beside it: firehose_start listens for readers (package link), makes their
// memory, hands it to the callback through one word a NIC, and takes it back; firehose_stop ends that, and firehose_start may
// follow again. No lock is shared, so a reader that hangs or lies cannot hold Snabb up: it loses frames, which are counted.
//
// WEIR_SNABB_SOCKET is where it listens, /run/weir-firehose.sock when unset. It says on standard error what goes wrong, when it
// starts to listen, and at the end what each NIC received.
package main
