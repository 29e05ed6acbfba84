// Command flow passes messages along a chain of goroutines and knows how long each lay where.
//
// A source sends to a buffered channel, faster than the worker behind it can work; the worker sends
// each on to a sink, over a channel without a buffer. Then a goroutine waits for a mutex. It waits for the line GO, passes the messages on,
// prints its truth as one line of JSON and waits for the end of its standard input.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"gotrace.test/programs/internal/program"
)

type message struct {
	sent, received time.Time
}

type truth struct {
	Messages int `json:"messages"`
	// How long a message was on its way from the source's send to the worker, and how long the worker
	// had it, on average.
	QueuedSeconds float64 `json:"queued_seconds"`
	WorkSeconds   float64 `json:"work_seconds"`
	// The word of the mutex that the runtime waits on, and how often somebody had to.
	Semaphore string `json:"semaphore"`
	Waits     int    `json:"waits"`
}

var (
	messages = flag.Int("messages", 200, "how many")
	watcher  = program.NewWatcher(1 << 20)
	work     = flag.Duration("work", 2*time.Millisecond, "how long the worker has each")
)

//go:noinline
func makeQueue() chan message { return make(chan message, 64) }

//go:noinline
func makeResults() chan message { return make(chan message) }

func source(queue chan<- message) {
	for i := 0; i < *messages; i++ {
		queue <- message{sent: time.Now()}
	}
	close(queue)
}

func worker(queue <-chan message, results chan<- message) {
	for m := range queue {
		m.received = time.Now()
		time.Sleep(*work)
		results <- m
	}
	close(results)
}

var lock sync.Mutex

// contend lets a goroutine wait for the mutex.
func contend() {
	var done sync.WaitGroup
	done.Add(1)
	lock.Lock()
	go func() {
		defer done.Done()
		locker()
	}()
	for watcher.Waiting("sync.Mutex.Lock", "main.locker(") != 1 {
		runtime.Gosched()
	}
	lock.Unlock()
	done.Wait()
}

//go:noinline
func locker() {
	lock.Lock()
	lock.Unlock()
}

func main() {
	flag.Parse()
	program.Ready(nil)
	input := bufio.NewReader(os.Stdin)
	if line, err := input.ReadString('\n'); err != nil || line != "GO\n" {
		os.Exit(1)
	}
	queue, results := makeQueue(), makeResults()
	go source(queue)
	go worker(queue, results)
	var told truth
	var queued, worked time.Duration
	for m := range results {
		told.Messages++
		queued += m.received.Sub(m.sent)
		worked += time.Since(m.received)
	}
	told.QueuedSeconds = queued.Seconds() / float64(told.Messages)
	told.WorkSeconds = worked.Seconds() / float64(told.Messages)
	for ; told.Waits < 5; told.Waits++ {
		contend()
	}
	told.Semaphore = fmt.Sprintf("%#x", uintptr(unsafe.Pointer(&lock))+unsafe.Sizeof(int32(0)))
	program.Tell(told)
	_, _ = io.Copy(io.Discard, input)
}
