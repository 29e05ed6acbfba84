// Restless changes everything as fast as it can: goroutines come and go, channels are made, filled,
// drained and closed, stacks grow, selects win and lose, locks are fought for, garbage is
// collected. It prints "ready" first and runs until its standard input ends.
//
// What holds at any moment: the halves of a pair are equal and its text is all "x" or "done", and
// the goroutines that start with hold, fifty of them, wait on one channel.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
)

type pair struct {
	Left, Right int
	Text        string
}

func hold(ch chan pair) { <-ch }

//go:noinline
func grow(n int) int {
	var block [512]byte
	block[n%512] = byte(n)
	if n == 0 {
		return int(block[0])
	}
	return grow(n-1) + int(block[n%512])
}

func produce(ch chan<- pair) {
	for i := 0; ; i++ {
		ch <- pair{i, i, strings.Repeat("x", i%7)}
	}
}

func consume(ch, other <-chan pair, quit <-chan struct{}) {
	for {
		select {
		case <-ch:
		case <-other:
		case <-quit:
		}
	}
}

func spawn(mutex *sync.Mutex) {
	for i := 0; ; i++ {
		done := make(chan pair, i%3)
		for j := 0; j < 8; j++ {
			j := j
			go pprof.Do(context.Background(), pprof.Labels("n", fmt.Sprint(j)),
				func(context.Context) {
					mutex.Lock()
					grow(j * 10)
					mutex.Unlock()
					done <- pair{j, j, "done"}
				})
		}
		for j := 0; j < 8; j++ {
			<-done
		}
		close(done)
	}
}

func main() {
	idle := make(chan pair)
	for i := 0; i < 50; i++ {
		go hold(idle)
	}
	quit := make(chan struct{})
	var mutex sync.Mutex
	for i := 0; i < 4; i++ {
		buffered, unbuffered := make(chan pair, 3), make(chan pair)
		go produce(buffered)
		go produce(unbuffered)
		go consume(buffered, unbuffered, quit)
		go spawn(&mutex)
	}
	go func() {
		for {
			runtime.GC()
		}
	}()
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}
