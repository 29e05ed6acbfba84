// Command crowd parks many goroutines, beside a heap as large as one likes, serves its own profiles, and measures how long it is kept from
// running: one goroutine does nothing but look at the clock, again and again, so a gap between two looks
// is a time in which it stood still.
//
// On its standard input, WATCH begins such a measurement and TELL ends it with a line of JSON.
package main

import (
	"bufio"
	"flag"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"gotrace.test/programs/internal/program"
)

// Gaps that are shorter are the loop's own steps.
const shortest = 20 * time.Microsecond

type stalls struct {
	Worst    int64 `json:"worst_nanoseconds"`
	Stalled  int64 `json:"stalled_nanoseconds"`
	Over1ms  int   `json:"over_1ms"`
	Over10ms int   `json:"over_10ms"`
	Watched  int64 `json:"watched_nanoseconds"`
}

// watch looks at the clock until it is told to end.
func watch(end *atomic.Bool) stalls {
	var seen stalls
	begin := time.Now()
	last := begin
	for !end.Load() {
		now := time.Now()
		if gap := now.Sub(last); gap > shortest {
			if int64(gap) > seen.Worst {
				seen.Worst = int64(gap)
			}
			seen.Stalled += int64(gap)
			if gap > time.Millisecond {
				seen.Over1ms++
			}
			if gap > 10*time.Millisecond {
				seen.Over10ms++
			}
		}
		last = now
	}
	seen.Watched = int64(last.Sub(begin))
	return seen
}

// item is what a heap is made of: pointers, text, bytes.
type item struct {
	next  *item
	kin   [3]*item
	name  string
	bytes []byte
}

// fill makes a live heap of so many bytes, about a third of which holds no pointers.
func fill(bytes uint64) *item {
	var all *item
	var recent [1024]*item
	var memory runtime.MemStats
	for i := 0; ; i++ {
		it := &item{next: all, name: strconv.Itoa(i), bytes: make([]byte, 16+i%64)}
		for k := range it.kin {
			it.kin[k] = recent[(i*7+k*131)%len(recent)]
		}
		recent[i%len(recent)] = it
		all = it
		if i%10_000 == 0 {
			if runtime.ReadMemStats(&memory); memory.HeapAlloc >= bytes {
				return all
			}
		}
	}
}

func main() {
	goroutines := flag.Int("n", 1000, "goroutines to park")
	shared := flag.Int("channels", 0, "channels that they share; 0 is one for each")
	heap := flag.Uint64("heap", 0, "MiB of live memory beside them")
	flag.Parse()
	var filling *item
	if *heap > 0 {
		old := debug.SetGCPercent(-1)
		filling = fill(*heap << 20)
		debug.SetGCPercent(old)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() { panic(http.Serve(listener, nil)) }()

	count := *shared
	if count == 0 {
		count = *goroutines
	}
	channels := make([]chan int, count)
	for i := range channels {
		channels[i] = make(chan int)
	}
	var parked atomic.Int64
	for i := 0; i < *goroutines; i++ {
		go handle(channels[i%count], i%4, &parked)
	}
	for parked.Load() != int64(*goroutines) {
		runtime.Gosched()
	}
	// Each waits or is about to; whoever looks from outside finds out which.
	runtime.GC()

	program.Ready(map[string]any{"goroutines": *goroutines, "http": listener.Addr().String()})
	lines := bufio.NewScanner(os.Stdin)
	var end atomic.Bool
	told := make(chan stalls)
	for lines.Scan() {
		switch lines.Text() {
		case "WATCH":
			end.Store(false)
			go func() { told <- watch(&end) }()
		case "TELL":
			end.Store(true)
			program.Tell(<-told)
		}
	}
	runtime.KeepAlive(channels)
	runtime.KeepAlive(filling)
}

// handle parks some calls deep, as a service's goroutines do.
//
//go:noinline
func handle(channel chan int, depth int, parked *atomic.Int64) int {
	if depth == 0 {
		parked.Add(1)
		return <-channel
	}
	return handle(channel, depth-1, parked) + depth
}
