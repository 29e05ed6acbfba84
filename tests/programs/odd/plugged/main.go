// Plugged opens the plugin that its argument names, runs its function Receive in five goroutines,
// prints "ready" and runs until its standard input ends.
package main

import (
	"fmt"
	"io"
	"os"
	"plugin"
	"runtime"
	"sync/atomic"
)

func main() {
	part, err := plugin.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	symbol, err := part.Lookup("Receive")
	if err != nil {
		panic(err)
	}
	receive := symbol.(func(chan int, *atomic.Int64) int)
	ch := make(chan int)
	var started atomic.Int64
	for i := 0; i < 5; i++ {
		go work(receive, ch, &started)
	}
	for started.Load() < 5 {
		runtime.Gosched()
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

// The caller of the plugin's function is the program's.
//
//go:noinline
func work(receive func(chan int, *atomic.Int64) int, ch chan int, started *atomic.Int64) {
	receive(ch, started)
}
