// Package arena owns the large, pointer-free memory of the hot tables: host rows, flow sets, rings of packet heads.
//
// On Linux it is anonymous mmap memory with a request for huge pages, outside the Go heap: the collector neither scans
// it nor counts it when it paces itself. Elsewhere, and in race builds so that the detector sees every access, it is
// plain Go slices. Pages are zero and become resident when they are first touched, which is done by the worker that
// owns them, so on NUMA machines they land on that worker's node; memory that is configured and never used costs
// address space only.
//
// An Arena belongs to one component, which calls Make while it is set up and Free after everything that uses the
// memory has stopped. Nothing here is called per packet but Prefetch, which is called once a burst.
// The package never frees by itself and knows nothing about what it holds.
package arena
