// Command ledger makes channel operations of every kind under stress and keeps book of each one.
//
// It runs on two processors, while the garbage collector is forced again and again and stacks grow
// and shrink under whoever waits. Lines on its standard input are commands; each gets one line of JSON
// as its answer:
//
//	RUN n  makes about n operations and says how many there were of each kind since the start
//	PARK   says the same, and which goroutines are left, each waiting in a way of its own
//
// What it says is exact: a counter is raised at each statement, and when the answer comes, every
// goroutine of the run has ended. Its channels without a buffer tell more: each value that was
// received from one was handed over by one of the two directly.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gotrace.test/programs/internal/program"
)

type book struct {
	sends, receives, closes, selects, created, made, handed, received atomic.Uint64

	closesOfNil, closesOfClosed atomic.Uint64
}

type truth struct {
	Sends    uint64 `json:"sends"`
	Receives uint64 `json:"receives"`
	Closes   uint64 `json:"closes"`
	Selects  uint64 `json:"selects"`
	// Goroutines; those of the runs have ended.
	Created uint64 `json:"created"`
	Exited  uint64 `json:"exited"`
	Made    uint64 `json:"made"`
	// Values that went through a channel without a buffer.
	Handed uint64 `json:"handed"`
	// Values that somebody got.
	Received uint64 `json:"received"`
	// Operations that panicked.
	Panics map[string]uint64 `json:"panics"`
	// Selects that ended. Each met somebody who waited, or was met.
	Selected uint64 `json:"selected"`
	// Who is left beside the main goroutine.
	Goroutines []program.Goroutine `json:"goroutines"`
}

var (
	done book
	left uint64
	// Of those that are left, in a select.
	selecting uint64
	watch     = program.NewWatcher(1 << 20)
)

func main() {
	runtime.GOMAXPROCS(2)
	// What the collector starts when it runs for the first time is there before anyone counts.
	runtime.GC()
	program.Ready(nil)
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		switch command := strings.Fields(input.Text()); {
		case len(command) == 2 && command[0] == "RUN":
			n, err := strconv.ParseUint(command[1], 10, 64)
			if err != nil {
				fail(input.Text())
			}
			run(n)
			program.Tell(account())
		case len(command) == 1 && command[0] == "PARK" && left == 0:
			park()
			program.Tell(account())
		default:
			fail(input.Text())
		}
	}
}

func fail(command string) {
	fmt.Fprintf(os.Stderr, "not a command now: %q\n", command)
	os.Exit(1)
}

func account() truth {
	return truth{
		Sends:    done.sends.Load(),
		Receives: done.receives.Load(),
		Closes:   done.closes.Load(),
		Selects:  done.selects.Load(),
		Created:  done.created.Load(),
		Exited:   done.created.Load() - left,
		Made:     done.made.Load(),
		Handed:   done.handed.Load(),
		Received: done.received.Load(),
		Selected: done.selects.Load() - selecting,
		Panics: map[string]uint64{
			"close_of_nil":    done.closesOfNil.Load(),
			"close_of_closed": done.closesOfClosed.Load(),
			"send_on_closed":  0,
		},
		Goroutines: program.Others("main."),
	}
}

func start(body func()) {
	done.created.Add(1)
	go body()
}

//go:noinline
func makeChan(capacity int) chan uint64 {
	done.made.Add(1)
	return make(chan uint64, capacity)
}

func send(c chan<- uint64, value uint64) {
	done.sends.Add(1)
	c <- value
}

func receive(c <-chan uint64) (uint64, bool) {
	done.receives.Add(1)
	value, ok := <-c
	if ok {
		done.received.Add(1)
	}
	return value, ok
}

func shut(c chan<- uint64) {
	done.closes.Add(1)
	close(c)
}

// deep calls body at the bottom of as many large frames, so that the stack has to grow first.
//
//go:noinline
func deep(depth uint64, body func()) byte {
	var frame [512]byte
	if depth == 0 {
		body()
		return 0
	}
	frame[depth%512] = byte(depth)
	return deep(depth-1, body) + frame[(depth+1)%512]
}

// run makes at least n operations, in rounds of some hundred in each of the ways.
func run(n uint64) {
	var stop atomic.Bool
	start(func() {
		for !stop.Load() {
			runtime.GC()
			time.Sleep(2 * time.Millisecond)
		}
	})
	before := operations()
	for round := uint64(0); operations()-before < n; round++ {
		var running sync.WaitGroup
		for _, way := range []func(uint64){pipe, buffered, merge, attempts, brief, contend, mistakes} {
			way := way
			running.Add(1)
			start(func() {
				defer running.Done()
				way(round)
			})
		}
		running.Wait()
	}
	stop.Store(true)
	// All others have ended, or nearly.
	for runtime.NumGoroutine() != 1+int(left) {
		runtime.Gosched()
	}
}

func operations() uint64 {
	return done.sends.Load() + done.receives.Load() + done.closes.Load() + done.selects.Load()
}

const values = 200

// pipe hands values over, one by one, from and to the bottom of a stack.
func pipe(round uint64) {
	c := makeChan(0)
	start(func() {
		for i := uint64(0); i < values; i++ {
			done.handed.Add(1)
			if i%16 == 0 {
				deep((round+i)%40, func() { send(c, i) })
			} else {
				send(c, i)
			}
		}
		shut(c)
	})
	for i := uint64(0); ; i++ {
		var value uint64
		var ok bool
		if i%16 == 8 {
			deep((round+i)%40, func() { value, ok = receive(c) })
		} else {
			value, ok = receive(c)
		}
		if !ok {
			return
		}
		if value != i {
			panic("a value is not the one that was sent")
		}
	}
}

// buffered has two senders, and so has nobody who can close before both are through.
func buffered(round uint64) {
	c := makeChan(int(round%8) + 1)
	var senders sync.WaitGroup
	for s := 0; s < 2; s++ {
		senders.Add(1)
		start(func() {
			defer senders.Done()
			for i := uint64(0); i < values/2; i++ {
				send(c, i)
			}
		})
	}
	start(func() {
		senders.Wait()
		shut(c)
	})
	for {
		if _, ok := receive(c); !ok {
			return
		}
	}
}

// merge selects among two senders and a channel on which nobody ever sends.
func merge(round uint64) {
	left, right, never := makeChan(0), makeChan(0), makeChan(0)
	for _, c := range []chan uint64{left, right} {
		c := c
		start(func() {
			for i := uint64(0); i < values/2; i++ {
				done.handed.Add(1)
				send(c, i)
			}
		})
	}
	for i := 0; i < values; i++ {
		choose := func() {
			done.selects.Add(1)
			select {
			case <-left:
				done.received.Add(1)
			case <-right:
				done.received.Add(1)
			case <-never:
				panic("nobody sends")
			}
		}
		if i%16 == 0 {
			deep(round%40, choose)
		} else {
			choose()
		}
	}
}

// attempts tries operations that may not block; every other one cannot proceed.
func attempts(uint64) {
	c := makeChan(1)
	for i := uint64(0); i < values/4; i++ {
		for twice := 0; twice < 2; twice++ {
			done.sends.Add(1)
			select {
			case c <- i:
			default:
			}
		}
		for twice := 0; twice < 2; twice++ {
			done.receives.Add(1)
			select {
			case <-c:
				done.received.Add(1)
			default:
			}
		}
	}
}

// brief starts goroutines that grow their first stack, answer and end.
func brief(round uint64) {
	const each = 20
	answers := makeChan(each)
	for i := uint64(0); i < each; i++ {
		i := i
		start(func() {
			deep((round+i)%30, func() { send(answers, i) })
		})
	}
	for i := 0; i < each; i++ {
		receive(answers)
	}
}

// contend fights for a mutex and waits for conditions.
func contend(uint64) {
	var lock sync.Mutex
	turn := sync.NewCond(&lock)
	whose := 0
	var fighters sync.WaitGroup
	for f := 0; f < 3; f++ {
		f := f
		fighters.Add(1)
		start(func() {
			defer fighters.Done()
			for i := 0; i < 10; i++ {
				lock.Lock()
				for whose != f {
					turn.Wait()
				}
				whose = (f + 1) % 3
				turn.Broadcast()
				lock.Unlock()
			}
		})
	}
	fighters.Wait()
}

// mistakes closes what cannot be closed, and recovers.
func mistakes(uint64) {
	try := func(c chan uint64, panicked *atomic.Uint64) {
		defer func() {
			if recover() != nil {
				panicked.Add(1)
			}
		}()
		shut(c)
	}
	try(nil, &done.closesOfNil)
	c := makeChan(1)
	shut(c)
	try(c, &done.closesOfClosed)
}

// What the goroutines that stay wait on.
var (
	full, empty, other chan uint64
	locked             sync.Mutex
	group              sync.WaitGroup
	condition          = sync.NewCond(&sync.Mutex{})
)

// park leaves goroutines behind that wait in different ways.
func park() {
	full, empty, other = makeChan(1), makeChan(0), makeChan(0)
	send(full, 1)
	locked.Lock()
	group.Add(1)
	ways := []struct {
		state, call string
		wait        func()
	}{
		{"chan send", "main.sender(", sender},
		{"chan receive", "main.receiver(", receiver},
		{"select", "main.selecter(", selecter},
		{"sync.Mutex.Lock", "main.locker(", locker},
		{"sync.WaitGroup.Wait", "main.waiter(", waiter},
		{"sync.Cond.Wait", "main.listener(", listener},
	}
	const each = 3
	for _, way := range ways {
		for i := 0; i < each; i++ {
			left++
			if way.state == "select" {
				selecting++
			}
			start(way.wait)
		}
	}
	for _, way := range ways {
		// Before Go 1.25 a wait group has no reason of its own, and before 1.20 a mutex has none.
		for watch.Waiting(way.state, way.call)+watch.Waiting("semacquire", way.call) != each {
			runtime.Gosched()
		}
	}
}

//go:noinline
func sender() { send(full, 2) }

//go:noinline
func receiver() { receive(empty) }

//go:noinline
func selecter() {
	done.selects.Add(1)
	select {
	case <-empty:
	case <-other:
	}
}

//go:noinline
func locker() { locked.Lock() }

//go:noinline
func waiter() { group.Wait() }

//go:noinline
func listener() {
	condition.L.Lock()
	condition.Wait()
}
