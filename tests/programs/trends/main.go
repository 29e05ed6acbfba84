// Command trends does one thing wrong, over and over, at a rate that it is told. Nothing of it can be
// seen by one look alone: what piles up is held by a global, so that it might still be of use.
//
//	trends held       goroutines wait to send on channels of their own, and nobody receives
//	trends tickers    goroutines live by tickers that nobody stops
//	trends contexts   contexts of a foreign parent that nobody cancels
//	trends servers    HTTP servers that nobody shuts down
//	trends bodies     HTTP responses whose bodies stay open
//	trends backlog    more is sent on a channel than is received, by ever new goroutines
//	trends convoy     a crowd waits for one lock, which is held for long
//	trends recursion  a function calls itself and does not come back
//	trends panics     a channel is closed twice, and the panic recovered from
//	trends sessions   nothing: goroutines wait for a second each and end
//
// -every is the time between two of those. At the end of its input it ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"time"

	"gotrace.test/programs/internal/program"
)

// held keeps what piles up reachable.
var (
	mu       sync.Mutex
	held     []chan int
	contexts []context.Context
)

func main() {
	every := flag.Duration("every", 20*time.Millisecond, "time between two faults")
	flag.Parse()
	work := map[string]func(time.Duration){
		"held":      holdSenders,
		"tickers":   startTickers,
		"contexts":  deriveContexts,
		"servers":   startServers,
		"bodies":    leaveBodiesOpen,
		"backlog":   overfill,
		"convoy":    crowd,
		"recursion": recurse,
		"panics":    closeTwice,
		"sessions":  serveSessions,
	}[flag.Arg(0)]
	if work == nil {
		fmt.Fprintln(os.Stderr, "say what goes wrong")
		os.Exit(2)
	}
	go work(*every)
	program.Ready(nil)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func holdSenders(every time.Duration) {
	for {
		result := make(chan int)
		mu.Lock()
		held = append(held, result)
		mu.Unlock()
		go func() { result <- 1 }()
		time.Sleep(every)
	}
}

func startTickers(every time.Duration) {
	for {
		go func() {
			for range time.NewTicker(time.Second).C {
			}
		}()
		time.Sleep(every)
	}
}

// foreign is a context that package context does not know from the inside.
type foreign struct{ context.Context }

func (f foreign) Value(any) any { return nil }

func deriveContexts(every time.Duration) {
	root, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		child, forgotten := context.WithCancel(foreign{root})
		_ = forgotten
		mu.Lock()
		contexts = append(contexts, child)
		mu.Unlock()
		time.Sleep(every)
	}
}

func startServers(every time.Duration) {
	for {
		httptest.NewServer(http.NotFoundHandler())
		time.Sleep(every)
	}
}

func leaveBodiesOpen(every time.Duration) {
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		// More than the client reads by itself.
		_, _ = answer.Write(make([]byte, 1<<16))
	}))
	for {
		response, err := http.Get(server.URL)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		_ = response.StatusCode
		time.Sleep(every)
	}
}

func overfill(every time.Duration) {
	jobs := make(chan int, 4)
	go func() {
		for range jobs {
			time.Sleep(5 * every)
		}
	}()
	// A request that is not served waits, up to a point.
	for job := 0; ; job++ {
		go func(job int) {
			select {
			case jobs <- job:
			default:
				if job%4 == 0 {
					jobs <- job
				}
			}
		}(job)
		time.Sleep(every)
	}
}

func crowd(every time.Duration) {
	var lock sync.Mutex
	for i := 0; i < 16; i++ {
		go func() {
			for {
				lock.Lock()
				time.Sleep(every)
				lock.Unlock()
			}
		}()
	}
}

//go:noinline
func deeper(every time.Duration, ballast [1024]byte) byte {
	time.Sleep(every)
	ballast[0]++
	return deeper(every, ballast) + ballast[0]
}

func recurse(every time.Duration) {
	deeper(every, [1024]byte{})
}

func closeTwice(every time.Duration) {
	for {
		done := make(chan struct{})
		close(done)
		closeAgain(done)
		time.Sleep(every)
	}
}

//go:noinline
func closeAgain(done chan struct{}) {
	defer func() { _ = recover() }()
	close(done)
}

func serveSessions(every time.Duration) {
	for {
		done := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(done) })
		go func() { <-done }()
		time.Sleep(every)
	}
}
