// Oracle blocks goroutines in many ways. It prints "ready", then the addresses of what they wait on,
// and for each line on its standard input what the runtime itself says about all of them (pprof's
// goroutine profile, debug=2), then "end".
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
	"syscall"
	"time"
)

var (
	never   = make(chan int)
	full    = make(chan string, 2)
	nothing chan int
)

type waiter interface{ wait(n int) int }

type byValue struct{ ch chan int }

func (v byValue) wait(n int) int { return n + <-v.ch }

// deep recurses with frames that are too large for one read of the stack.
//
//go:noinline
func deep(n int, ch chan int) int {
	var block [2048]byte
	block[n] = byte(n)
	if n == 0 {
		return <-ch
	}
	return deep(n-1, ch) + int(block[n/2])
}

//go:noinline
func shallow(n int, ch chan int) int {
	if n == 0 {
		return <-ch
	}
	return shallow(n-1, ch) + 1
}

func inlined(ch chan int) int { return <-ch }

func alsoInlined(ch chan int) int { return inlined(ch) + 1 }

//go:noinline
func generic[T any](ch chan int, value T) T {
	<-ch
	return value
}

func panics(ch chan int) {
	defer func() { _ = recover() }()
	defer func() { <-ch }()
	var p *int
	*p = 1
}

func exits(ch chan int) {
	defer func() { <-ch }()
	runtime.Goexit()
}

func created(depth int, ch chan int) {
	if depth == 0 {
		<-ch
		return
	}
	go created(depth-1, ch)
	<-ch
}

func sort(less func(a, b int) bool) bool { return less(1, 2) }

// start returns what it prints after "ready".
func start() string {
	var held, free sync.Mutex
	var rw sync.RWMutex
	var group sync.WaitGroup
	held.Lock()
	rw.Lock()
	group.Add(1)
	cond := sync.NewCond(&free)
	full <- "one"
	full <- "two"

	go func() { full <- "three" }()
	go func() { <-never }()
	go func() { <-nothing }()
	go func() { nothing <- 1 }()
	go func() { select {} }()
	go func() {
		select {
		case full <- "four":
		case v := <-never:
			fmt.Println(v)
		case <-time.After(time.Hour):
		}
	}()
	go held.Lock()
	go rw.RLock()
	go rw.Lock()
	go group.Wait()
	go func() {
		free.Lock()
		cond.Wait()
	}()
	go time.Sleep(time.Hour)
	go deep(40, never)
	go shallow(60, never)
	go alsoInlined(never)
	go generic(never, 1)
	go generic(never, "one")
	go panics(never)
	go exits(never)
	go created(5, never)
	var method waiter = &byValue{never}
	go method.wait(1)
	go sort(func(a, b int) bool { return a+b < <-never })
	go func() {
		runtime.LockOSThread()
		<-never
	}()
	go pprof.Do(context.Background(), pprof.Labels("role", "labelled", "shard", "7"),
		func(context.Context) { <-never })
	ends := make([]int, 2)
	if err := syscall.Pipe(ends); err != nil {
		panic(err)
	}
	go syscall.Read(ends[0], make([]byte, 1))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go listener.Accept()
	return fmt.Sprintf("never=%p full=%p held=%p rw=%p group=%p cond=%p",
		never, full, &held, &rw, &group, cond)
}

func main() {
	addresses := start()
	time.Sleep(200 * time.Millisecond)
	fmt.Println("ready", addresses)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := pprof.Lookup("goroutine").WriteTo(os.Stdout, 2); err != nil {
			panic(err)
		}
		fmt.Println("end")
	}
}
