// Part is a plugin for plugged.
package main

import "sync/atomic"

// Receive counts itself and waits.
func Receive(ch chan int, started *atomic.Int64) int {
	return inner(ch, started) + 1
}

//go:noinline
func inner(ch chan int, started *atomic.Int64) int {
	started.Add(1)
	return <-ch
}

func main() {}
