// Command corrupt overwrites fields of a channel of its own, as code does that uses package unsafe wrongly
// or that writes beyond an object. Goroutines wait on it, so that it is in use.
//
//	corrupt count     more elements than there is room for
//	corrupt index     the place of the next send lies outside of the buffer
//	corrupt buffer    the buffer is not where it was allocated
//	corrupt capacity  room for far more than was allocated
//	corrupt cycle     the first waiting receiver comes after itself
//	corrupt none      nothing
//
// At the end of its input it ends.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"gotrace.test/programs/internal/program"
)

// channel is a global, so that nobody is leaked.
var channel = make(chan int, 4)

// field is the word at this offset of the channel (runtime.hchan on a 64-bit machine).
func field(offset uintptr) *uintptr {
	head := *(*unsafe.Pointer)(unsafe.Pointer(&channel))
	return (*uintptr)(unsafe.Pointer(uintptr(head) + offset))
}

// late is where the fields behind `closed` begin: since Go 1.23 a timer comes first.
func late() uintptr {
	for _, old := range []string{"go1.19", "go1.20", "go1.21", "go1.22"} {
		if strings.HasPrefix(runtime.Version(), old) {
			return 32
		}
	}
	return 40
}

func main() {
	flag.Parse()
	for i := 0; i < 2; i++ {
		go receive()
	}
	program.NewWatcher(1<<16).AwaitWaiting(2, "chan receive", "main.receive(")
	// elemtype, sendx, recvx, recvq.first, recvq.last
	elemtype := late()
	switch flag.Arg(0) {
	case "count":
		*field(0) = 9
	case "index":
		*field(elemtype + 8) = 77
	case "buffer":
		*field(16) = 0x1000
	case "capacity":
		*field(8) = 1 << 20
	case "cycle":
		// runtime.sudog begins with g, next, prev.
		first := *field(elemtype + 24)
		*(*uintptr)(unsafe.Pointer(first + 8)) = first
	case "none":
	default:
		fmt.Fprintln(os.Stderr, "say what is wrong")
		os.Exit(2)
	}
	program.Ready(map[string]any{"channel": program.Address(channel)})
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func receive() {
	<-channel
}
