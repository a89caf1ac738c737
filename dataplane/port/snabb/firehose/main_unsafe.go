//go:build snabb && cgo

package main

import "C"

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/weir-ddos/weir/dataplane/port/snabb/link"
)

// instance tells this Snabb process from the next.
var instance = rand.Uint64()

// service is the library's listener, from firehose_start to firehose_stop.
type service struct {
	socket string
	src    *source
	stop   chan struct{}
	done   chan struct{}
}

var (
	mu      sync.Mutex // guards running
	running *service
	nics    = &source{feeds: feeds{}}
)

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "weir-firehose: "+format+"\n", args...)
}

// firehose_start begins to listen for readers. Snabb calls it once, before its loop.
//
//export firehose_start
func firehose_start() {
	mu.Lock()
	defer mu.Unlock()
	if running != nil {
		return
	}
	running = &service{socket: link.DefaultSocket, src: nics, stop: make(chan struct{}), done: make(chan struct{})}
	if s := os.Getenv("WEIR_SNABB_SOCKET"); s != "" {
		running.socket = s
	}
	go running.run()
}

// firehose_stop ends all connections and says what was received. Snabb calls it after its loop, on the same thread, and only with
// a time limit.
//
//export firehose_stop
func firehose_stop() {
	mu.Lock()
	defer mu.Unlock()
	if running == nil {
		return
	}
	close(running.stop)
	for ended := false; !ended; {
		takeAll() // the callback does not run any more
		select {
		case <-running.done:
			ended = true
		case <-time.After(lookEvery):
		}
	}
	running = nil
	for _, line := range figures() {
		say("%s", line)
	}
}

// listenAgain is how often a socket is tried that cannot be had.
const listenAgain = time.Second

// run serves until stop. Snabb goes on without us when we cannot listen, so that is said once and tried again.
func (s *service) run() {
	defer close(s.done)
	said := ""
	for {
		server, err := link.Listen(s.socket, s.src, instance)
		if err == nil {
			say("listening at %s", s.socket)
			<-s.stop
			if err := server.Close(); err != nil {
				say("%v", err)
			}
			return
		}
		if err.Error() != said {
			said = err.Error()
			say("%v; trying again", err)
		}
		select {
		case <-s.stop:
			return
		case <-time.After(listenAgain):
		}
	}
}

func main() {}
