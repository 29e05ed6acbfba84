// Embedded is Go code in a program whose main function is C (-buildmode=c-archive, host/main.c).
// Start parks as many goroutines as it is told, each on a receive from one channel.
package main

import "C"

import (
	"runtime"
	"sync/atomic"
)

var (
	ch      = make(chan int)
	started atomic.Int64
)

//go:noinline
func receive() int {
	started.Add(1)
	return <-ch
}

//export Start
func Start(count C.int) {
	for i := 0; i < int(count); i++ {
		go receive()
	}
	for started.Load() < int64(count) {
		runtime.Gosched()
	}
}

func main() {}
