// Command counts does a known number of channel operations and knows how often its goroutines
// parked and were woken.
//
// It prints READY, waits for the line GO, works, prints its truth as one line of JSON and waits for
// the end of its standard input. Nothing else happens meanwhile: the garbage collector is off, the
// main goroutine never parks (it waits by yielding), standard input and output are used with
// blocking system calls (give it a pipe that is not in non-blocking mode), and no timer runs.
//
// Why parks and wake-ups are exact: before the main goroutine wakes anybody, it verifies by the
// runtime's own stack traces that every worker is parked. So each of its operations meets a parked
// worker, wakes it, and that worker parks once more.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"gotrace.test/programs/internal/program"
)

// counted is a channel with the operations that were begun on it. Operations of selects with
// several cases are not among them.
type counted struct {
	values                  chan int
	name                    string
	sends, receives, closes atomic.Uint64
	parksSend, parksReceive atomic.Uint64
	// Operations, those of selects included, that met a goroutine parked on the other side.
	directSends, directReceives atomic.Uint64
	// Selects that the case of this channel ended.
	selectedSends, selectedReceives atomic.Uint64
}

type channelTruth struct {
	Name           string `json:"name"`
	Address        string `json:"address"`
	Cap            int    `json:"cap"`
	Sends          uint64 `json:"sends"`
	Receives       uint64 `json:"receives"`
	Closes         uint64 `json:"closes"`
	ParksSend      uint64 `json:"parks_send"`
	ParksReceive   uint64 `json:"parks_receive"`
	DirectSends    uint64 `json:"direct_sends"`
	DirectReceives uint64 `json:"direct_receives"`

	SelectedSends    uint64 `json:"selected_sends"`
	SelectedReceives uint64 `json:"selected_receives"`
}

type truth struct {
	MainGoid       uint64            `json:"main_goid"`
	Sends          uint64            `json:"sends"`
	Receives       uint64            `json:"receives"`
	Closes         uint64            `json:"closes"`
	Selects        uint64            `json:"selects"`
	Created        uint64            `json:"created"`
	Exited         uint64            `json:"exited"`
	Parks          map[string]uint64 `json:"parks"`
	WakeupsByMain  uint64            `json:"wakeups_by_main"`
	Made           uint64            `json:"made"`
	MadeIn         string            `json:"made_in"`
	DirectSends    uint64            `json:"direct_sends"`
	DirectReceives uint64            `json:"direct_receives"`
	Selected       uint64            `json:"selected"`
	Defaulted      uint64            `json:"defaulted"`
	// Values that came from a sender to a receiver, and non-blocking attempts in vain.
	Messages       uint64         `json:"messages"`
	FailedSends    uint64         `json:"failed_sends"`
	FailedReceives uint64         `json:"failed_receives"`
	Channels       []channelTruth `json:"channels"`
}

var (
	workers    = flag.Int("workers", 16, "goroutines in each phase")
	rounds     = flag.Int("rounds", 25, "times that each parked goroutine is woken")
	operations = flag.Int("operations", 2000, "sends, and as many receives, of each goroutine of the buffered phases")

	all                      []*counted
	selects, created, exited atomic.Uint64
	parksSelect              uint64
	made                     uint64
	others                   []any

	messages, failedSends, failedReceives, defaulted atomic.Uint64
	wakeups                                          uint64
	watcher                                          = program.NewWatcher(4 << 20)
)

func newCounted(name string, capacity int) *counted {
	c := &counted{values: makeInt(capacity), name: name}
	all = append(all, c)
	return c
}

// makeInt makes every channel that carries operations: the place where they all come from.
//
//go:noinline
func makeInt(capacity int) chan int {
	made++
	return make(chan int, capacity)
}

// makeOthers makes channels in each way that the runtime has: without a buffer, with elements that
// hold no pointer, that hold some, and of no size; and by reflection.
func makeOthers() {
	for i := 0; i < *rounds; i++ {
		others = append(others,
			make(chan [3]int),
			make(chan [3]int, i+1),
			make(chan *int, i+1),
			make(chan struct{}, i+1),
			reflect.MakeChan(reflect.TypeOf((chan string)(nil)), i+1).Interface())
		made += 5
	}
}

func (c *counted) send(value int) {
	c.sends.Add(1)
	c.values <- value
}

func (c *counted) receive() (int, bool) {
	c.receives.Add(1)
	value, ok := <-c.values
	return value, ok
}

func (c *counted) close() {
	c.closes.Add(1)
	close(c.values)
}

// start runs a goroutine and counts its beginning and its end.
func start(body func()) {
	created.Add(1)
	go func() {
		body()
		exited.Add(1)
	}()
}

// join waits until only the main goroutine is left, without parking.
func join() {
	for runtime.NumGoroutine() != 1 {
		runtime.Gosched()
	}
}

func main() {
	flag.Parse()
	runtime.GOMAXPROCS(2)
	// What the collector starts when it runs for the first time is there before anyone counts.
	runtime.GC()
	debug.SetGCPercent(-1)

	input := bufio.NewReader(os.Stdin)
	program.Ready(nil)
	if line, err := input.ReadString('\n'); err != nil || line != "GO\n" {
		fmt.Fprintf(os.Stderr, "expected GO, got %q (%v)\n", line, err)
		os.Exit(1)
	}

	buffered()
	shared()
	nonBlocking()
	parkedReceivers()
	parkedSenders()
	readySelects()
	parkedSelects()
	makeOthers()
	join()

	program.Tell(collect())
	_, _ = io.Copy(io.Discard, input)
	runtime.KeepAlive(all)
	runtime.KeepAlive(others)
}

// buffered fills and empties a channel of its own in each goroutine: nothing blocks.
func buffered() {
	for i := 0; i < *workers; i++ {
		c := newCounted("buffered", 64)
		start(func() {
			for done := 0; done < *operations; {
				burst := 0
				for ; burst < cap(c.values) && done < *operations; burst++ {
					c.send(done)
					done++
				}
				for ; burst > 0; burst-- {
					c.receive()
					messages.Add(1)
				}
			}
		})
	}
	join()
}

// shared lets all goroutines send to one channel that has room for everything, and then all of them
// receive from it.
func shared() {
	c := newCounted("shared", *workers**operations)
	both := func(operation func()) {
		for i := 0; i < *workers; i++ {
			start(func() {
				for n := 0; n < *operations; n++ {
					operation()
				}
			})
		}
		join()
	}
	both(func() { c.send(1) })
	both(func() {
		c.receive()
		messages.Add(1)
	})
	c.close()
}

// nonBlocking tries operations with a default case, half of which cannot proceed. Each attempt is a
// begun operation.
func nonBlocking() {
	c := newCounted("non-blocking", 1)
	for i := 0; i < *operations; i++ {
		for attempt := 0; attempt < 2; attempt++ {
			c.sends.Add(1)
			select {
			case c.values <- i:
			default:
				failedSends.Add(1)
			}
		}
		for attempt := 0; attempt < 2; attempt++ {
			c.receives.Add(1)
			select {
			case <-c.values:
				messages.Add(1)
			default:
				failedReceives.Add(1)
			}
		}
	}
}

// parkedReceivers wakes goroutines from a receive, the last time by closing their channel.
func parkedReceivers() {
	var channels []*counted
	for i := 0; i < *workers; i++ {
		c := newCounted("parked receiver", 0)
		channels = append(channels, c)
		start(func() { receiver(c) })
	}
	for round := 0; round < *rounds; round++ {
		watcher.AwaitWaiting(*workers, "chan receive", "main.receiver(")
		for _, c := range channels {
			c.parksReceive.Add(1)
			c.directSends.Add(1)
			wakeups++
			messages.Add(1)
			c.send(round)
		}
	}
	watcher.AwaitWaiting(*workers, "chan receive", "main.receiver(")
	for _, c := range channels {
		c.parksReceive.Add(1)
		wakeups++
		c.close()
	}
	join()
}

//go:noinline
func receiver(c *counted) {
	for {
		if _, ok := c.receive(); !ok {
			return
		}
	}
}

// parkedSenders wakes goroutines from a send by receiving from them.
func parkedSenders() {
	var channels []*counted
	for i := 0; i < *workers; i++ {
		c := newCounted("parked sender", 0)
		channels = append(channels, c)
		start(func() { sender(c, *rounds) })
	}
	for round := 0; round < *rounds; round++ {
		watcher.AwaitWaiting(*workers, "chan send", "main.sender(")
		for _, c := range channels {
			c.parksSend.Add(1)
			c.directReceives.Add(1)
			wakeups++
			messages.Add(1)
			c.receive()
		}
	}
	join()
}

//go:noinline
func sender(c *counted, values int) {
	for i := 0; i < values; i++ {
		c.send(i)
	}
}

// readySelects selects among several cases of which one can always proceed.
func readySelects() {
	c, other := newCounted("select", 1), newCounted("select", 1)
	for i := 0; i < *operations; i++ {
		selects.Add(3)
		select {
		case c.values <- i:
			c.selectedSends.Add(1)
		case <-other.values:
		}
		select {
		case <-c.values:
			c.selectedReceives.Add(1)
			messages.Add(1)
		case <-other.values:
		}
		select {
		case <-c.values:
		case <-other.values:
		default:
			defaulted.Add(1)
		}
	}
}

// parkedSelects wakes goroutines from a select, from one case and from the other in turn.
func parkedSelects() {
	type pair struct{ left, right *counted }
	var pairs []pair
	for i := 0; i < *workers; i++ {
		p := pair{newCounted("selected", 0), newCounted("selected", 0)}
		pairs = append(pairs, p)
		start(func() { selecter(p.left, p.right, *rounds) })
	}
	for round := 0; round < *rounds; round++ {
		watcher.AwaitWaiting(*workers, "select", "main.selecter(")
		for _, p := range pairs {
			parksSelect++
			wakeups++
			messages.Add(1)
			if round%2 == 0 {
				p.left.directSends.Add(1)
				p.left.send(round)
			} else {
				p.right.directReceives.Add(1)
				p.right.receive()
			}
		}
	}
	join()
}

//go:noinline
func selecter(left, right *counted, times int) {
	for i := 0; i < times; i++ {
		selects.Add(1)
		select {
		case <-left.values:
			left.selectedReceives.Add(1)
		case right.values <- i:
			right.selectedSends.Add(1)
		}
	}
}

func collect() truth {
	t := truth{
		MainGoid:      program.Goid(),
		Selects:       selects.Load(),
		Created:       created.Load(),
		Exited:        exited.Load(),
		Parks:         map[string]uint64{"select": parksSelect},
		WakeupsByMain: wakeups,
		Made:          made,
		MadeIn:        "main.makeInt",

		Defaulted:      defaulted.Load(),
		Messages:       messages.Load(),
		FailedSends:    failedSends.Load(),
		FailedReceives: failedReceives.Load(),
	}
	for _, c := range all {
		one := channelTruth{
			Name:           c.name,
			Address:        program.Address(c.values),
			Cap:            cap(c.values),
			Sends:          c.sends.Load(),
			Receives:       c.receives.Load(),
			Closes:         c.closes.Load(),
			ParksSend:      c.parksSend.Load(),
			ParksReceive:   c.parksReceive.Load(),
			DirectSends:    c.directSends.Load(),
			DirectReceives: c.directReceives.Load(),

			SelectedSends:    c.selectedSends.Load(),
			SelectedReceives: c.selectedReceives.Load(),
		}
		t.Channels = append(t.Channels, one)
		t.Sends += one.Sends
		t.Receives += one.Receives
		t.DirectSends += one.DirectSends
		t.DirectReceives += one.DirectReceives
		t.Selected += one.SelectedSends + one.SelectedReceives
		t.Closes += one.Closes
		t.Parks["chan send"] += one.ParksSend
		t.Parks["chan receive"] += one.ParksReceive
	}
	return t
}
