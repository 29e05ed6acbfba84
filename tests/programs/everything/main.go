// Everything blocks goroutines in every way that the Go runtime knows and then waits: it prints
// "ready N", N being the number of goroutines, and runs until its standard input ends.
//
// It needs nothing but the standard library of Go 1.19.
package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"
)

type point struct {
	X, Y int32
	Name string
}

type stringer interface{ String() string }

// Channels that stay reachable, of many element types.
var (
	ints       = make(chan int, 4)
	strings    = make(chan string, 4)
	points     = make(chan point, 2)
	pointers   = make(chan *point, 2)
	slices     = make(chan []byte, 2)
	maps       = make(chan map[string]int, 2)
	anys       = make(chan interface{}, 4)
	errs       = make(chan error, 1)
	funcs      = make(chan func(), 1)
	chans      = make(chan chan int, 1)
	arrays     = make(chan [3]uint16, 1)
	bools      = make(chan bool, 1)
	floats     = make(chan float64, 1)
	stringers  = make(chan stringer, 1)
	empties    = make(chan struct{}, 3)
	unbuffered = make(chan int)
	never      = make(chan int)
	full       = make(chan int, 1)
	nilChan    chan int
)

func fill() {
	ints <- 1
	ints <- 2
	strings <- "first"
	points <- point{1, -2, "origin"}
	pointers <- &point{3, 4, "pointed"}
	slices <- []byte("bytes")
	maps <- map[string]int{"one": 1}
	anys <- 42
	anys <- "any"
	anys <- nil
	errs <- fmt.Errorf("an error")
	funcs <- fill
	chans <- ints
	arrays <- [3]uint16{1, 2, 3}
	bools <- true
	floats <- 1.5
	empties <- struct{}{}
	full <- 7
}

//go:noinline
func sender(c chan int) { c <- 99 }

//go:noinline
func receiver(c chan int) int { return <-c }

func selector() {
	select {
	case <-never:
	case unbuffered <- 5:
	case v, ok := <-nilChan:
		fmt.Println(v, ok)
	}
}

type queue struct {
	mu   sync.Mutex
	cond *sync.Cond
}

func (q *queue) wait() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.cond.Wait()
}

func main() {
	fill()
	var locked sync.Mutex
	locked.Lock()
	var readLocked, writeLocked sync.RWMutex
	readLocked.RLock()
	writeLocked.Lock()
	var group sync.WaitGroup
	group.Add(1)
	q := &queue{}
	q.cond = sync.NewCond(&q.mu)
	ctx, cancel := context.WithCancel(context.Background())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}

	go sender(full)
	go sender(full)
	go receiver(never)
	go selector()
	go func() { select {} }()
	go func() { <-nilChan }()
	go func() { nilChan <- 1 }()
	go locked.Lock()
	go func() { locked.Lock() }()
	go writeLocked.RLock()
	go readLocked.Lock()
	go group.Wait()
	go q.wait()
	go func() { <-ctx.Done() }()
	go func() { time.Sleep(24 * time.Hour) }()
	go func() { <-time.After(24 * time.Hour) }()
	go func() {
		for range time.NewTicker(time.Hour).C {
		}
	}()
	go func() { _, _ = listener.Accept() }()
	go pprof.Do(ctx, pprof.Labels("role", "labelled"), func(context.Context) { receiver(never) })

	// A goroutine that comes and goes, so that creation, exit and close were used as well.
	done := make(chan struct{})
	go func() {
		select {
		case ints <- 3:
		default:
		}
		if _, ok := <-done; !ok {
			fmt.Sscan("", new(int))
		}
	}()
	close(done)

	// Until everything that blocks has blocked.
	for i := 0; i < 50; i++ {
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
	fmt.Println("ready", runtime.NumGoroutine())
	_, _ = bufio.NewReader(os.Stdin).ReadString(0)
	cancel()
}
