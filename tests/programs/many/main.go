// Command many parks many goroutines and then idles until its standard input ends.
package main

import (
	"flag"
	"io"
	"os"
	"runtime"

	"gotrace.test/programs/internal/program"
)

func main() {
	goroutines := flag.Int("n", 10000, "goroutines to park")
	shared := flag.Int("channels", 0, "channels that they share; 0 is one for each")
	flag.Parse()

	count := *shared
	if count == 0 {
		count = *goroutines
	}
	channels := make([]chan int, count)
	for i := range channels {
		channels[i] = make(chan int)
	}
	for i := 0; i < *goroutines; i++ {
		go parked(channels[i%count])
	}
	program.NewWatcher(16<<20).AwaitWaiting(*goroutines, "chan receive", "main.parked(")
	runtime.GC()

	program.Ready(map[string]any{"goroutines": *goroutines, "channels": count})
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(channels)
}

//go:noinline
func parked(channel chan int) {
	<-channel
}
