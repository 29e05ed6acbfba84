// Command churn is a busy target: stacks grow and shrink, the garbage collector is forced,
// goroutines are created and die, channels are made, used, closed and reused, and mutexes are
// fought over.
//
// Everything that it does is checked: each message must arrive exactly once and in order, and each
// result is computed twice in independent ways. At SIGTERM, or when its standard input ends, it
// finishes what is on its way and prints one line of JSON: whether all was right, the checksum of
// all work as the senders and as the receivers computed it, and the number of operations.
package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gotrace.test/programs/internal/program"
)

// tally is one worker's account.
type tally struct {
	expected, actual, operations uint64
}

var (
	stop   atomic.Bool
	mu     sync.Mutex
	total  tally
	errors []string
)

// report adds a worker's account to the total.
func report(t tally) {
	mu.Lock()
	defer mu.Unlock()
	total.expected += t.expected
	total.actual += t.actual
	total.operations += t.operations
}

func wrong(format string, arguments ...any) {
	mu.Lock()
	defer mu.Unlock()
	if len(errors) < 20 {
		errors = append(errors, fmt.Sprintf(format, arguments...))
	}
}

// goesOn tells whether a worker takes another turn: the first one in any case, then until the stop.
func goesOn(turn uint64) bool {
	return turn == 0 || !stop.Load()
}

// mix is a message or a result that depends on who made it and when (splitmix64's finaliser).
func mix(who, when uint64) uint64 {
	z := who*0x9e3779b97f4a7c15 + when + 1
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

func main() {
	runtime.GOMAXPROCS(2)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		signals <- syscall.SIGTERM
	}()

	var workers sync.WaitGroup
	id := uint64(0)
	run := func(copies int, body func(id uint64)) {
		for i := 0; i < copies; i++ {
			id++
			workers.Add(1)
			go func(id uint64) {
				defer workers.Done()
				body(id)
			}(id)
		}
	}
	run(3, pingPong)
	run(2, fanIn)
	run(2, recursion)
	run(2, shortLives)
	run(2, shortChannels)
	run(1, fights)
	run(1, collector)

	program.Ready(nil)
	<-signals
	stop.Store(true)
	finished := make(chan struct{})
	go func() {
		workers.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-time.After(30 * time.Second):
		wrong("still at work 30 s after the stop: a message or a wake-up was lost")
	}

	mu.Lock()
	defer mu.Unlock()
	ok := len(errors) == 0 && total.expected == total.actual && total.operations > 0
	program.Tell(map[string]any{
		"ok":         ok,
		"expected":   fmt.Sprintf("%#016x", total.expected),
		"checksum":   fmt.Sprintf("%#016x", total.actual),
		"operations": total.operations,
		"errors":     append([]string{}, errors...),
	})
	if !ok {
		os.Exit(1)
	}
}

// pingPong sends over an unbuffered channel and gets each message back.
func pingPong(id uint64) {
	var sent, received tally
	ball, back := make(chan uint64), make(chan uint64)
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		for n := uint64(0); ; n++ {
			value, ok := <-ball
			if !ok {
				return
			}
			if value != mix(id, n) {
				wrong("pingPong %d: message %d is %#x", id, n, value)
			}
			received.actual += value
			received.operations++
			back <- value
		}
	}()
	for n := uint64(0); goesOn(n); n++ {
		value := mix(id, n)
		sent.expected += value
		sent.operations++
		ball <- value
		if answer := <-back; answer != value {
			wrong("pingPong %d: answer %d is %#x", id, n, answer)
		}
	}
	close(ball)
	<-echoed
	if sent.operations != received.operations {
		wrong("pingPong %d: %d sent, %d received", id, sent.operations, received.operations)
	}
	report(sent)
	report(received)
}

// fanIn selects among three producers and hands everything on through a buffered channel.
func fanIn(id uint64) {
	const producers = 3
	type message struct {
		from int
		n    uint64
	}
	var inputs [producers]chan message
	var sent [producers]tally
	for p := range inputs {
		inputs[p] = make(chan message, p)
		go func(p int) {
			defer close(inputs[p])
			for n := uint64(0); goesOn(n); n++ {
				sent[p].expected += mix(id+uint64(p)<<32, n)
				sent[p].operations++
				inputs[p] <- message{p, n}
			}
		}(p)
	}

	output := make(chan message, 4)
	go func() {
		defer close(output)
		left, middle, right := inputs[0], inputs[1], inputs[2]
		for left != nil || middle != nil || right != nil {
			var m message
			var ok bool
			select {
			case m, ok = <-left:
				if !ok {
					left = nil
				}
			case m, ok = <-middle:
				if !ok {
					middle = nil
				}
			case m, ok = <-right:
				if !ok {
					right = nil
				}
			}
			if ok {
				output <- m
			}
		}
	}()

	var next [producers]uint64
	var received tally
	for m := range output {
		if m.n != next[m.from] {
			wrong("fanIn %d: message %d of producer %d instead of %d", id, m.n, m.from, next[m.from])
		}
		next[m.from]++
		received.actual += mix(id+uint64(m.from)<<32, m.n)
		received.operations++
	}
	for p := range sent {
		if sent[p].operations != next[p] {
			wrong("fanIn %d: producer %d sent %d, %d received", id, p, sent[p].operations, next[p])
		}
		report(sent[p])
	}
	report(received)
}

// deep computes the sum of mix(seed, 1..depth) with a large frame at each level, so that the stack
// has to grow; it reads its frame after the call, when the stack may have moved.
//
//go:noinline
func deep(seed uint64, depth int) uint64 {
	if depth == 0 {
		return 0
	}
	var frame [64]uint64
	for i := range frame {
		frame[i] = mix(seed, uint64(depth))
	}
	below := deep(seed, depth-1)
	for i := range frame {
		if frame[i] != frame[0] {
			wrong("deep: frame %d of %#x was overwritten", depth, seed)
		}
	}
	return below + frame[depth%len(frame)]
}

func flat(seed uint64, depth int) uint64 {
	sum := uint64(0)
	for i := 1; i <= depth; i++ {
		sum += mix(seed, uint64(i))
	}
	return sum
}

// recursion lets its stack grow again and again; the collector shrinks it meanwhile.
func recursion(id uint64) {
	var t tally
	for n := uint64(0); goesOn(n); n++ {
		seed := mix(id, n)
		depth := int(seed % 300)
		t.expected += flat(seed, depth)
		t.actual += deep(seed, depth)
		t.operations++
		runtime.Gosched()
	}
	report(t)
}

// shortLives creates goroutines that grow their first stack, answer and die.
func shortLives(id uint64) {
	var t tally
	for n := uint64(0); goesOn(n); n++ {
		const batch = 8
		answers := make(chan uint64, batch)
		for i := uint64(0); i < batch; i++ {
			seed := mix(id, n*batch+i)
			depth := int(seed % 40)
			t.expected += flat(seed, depth)
			go func() { answers <- deep(seed, depth) }()
		}
		for i := 0; i < batch; i++ {
			t.actual += <-answers
			t.operations++
		}
	}
	report(t)
}

// shortChannels makes a channel, sends a known number of messages, closes it and forgets it.
func shortChannels(id uint64) {
	var t tally
	for n := uint64(0); goesOn(n); n++ {
		messages := mix(id, n) % 32
		channel := make(chan uint64, n%5)
		go func() {
			defer close(channel)
			for i := uint64(0); i < messages; i++ {
				channel <- mix(n, i)
			}
		}()
		arrived := uint64(0)
		for value := range channel {
			t.expected += mix(n, arrived)
			t.actual += value
			t.operations++
			arrived++
		}
		if arrived != messages {
			wrong("shortChannels %d: %d of %d messages arrived", id, arrived, messages)
		}
	}
	report(t)
}

// fights lets goroutines compete for a mutex and wait for each other with a condition.
func fights(id uint64) {
	const fighters = 4
	var lock sync.Mutex
	turn := sync.NewCond(&lock)
	var counter, whose uint64
	var own [fighters]uint64
	var done sync.WaitGroup
	for f := uint64(0); f < fighters; f++ {
		done.Add(1)
		go func(f uint64) {
			defer done.Done()
			for !stop.Load() {
				lock.Lock()
				counter++
				own[f]++
				lock.Unlock()
				if own[f]%16 == 0 {
					lock.Lock()
					for whose != f && !stop.Load() {
						turn.Wait()
					}
					whose = (f + 1) % fighters
					turn.Broadcast()
					lock.Unlock()
				}
			}
			lock.Lock()
			turn.Broadcast()
			lock.Unlock()
		}(f)
	}
	done.Wait()
	t := tally{expected: counter, operations: counter}
	for _, n := range own {
		t.actual += n
	}
	if t.actual != t.expected {
		wrong("fights %d: %d by the counter, %d by the fighters", id, t.expected, t.actual)
	}
	report(t)
}

// collector forces the garbage collector, which also shrinks stacks.
func collector(uint64) {
	for !stop.Load() {
		runtime.GC()
		time.Sleep(5 * time.Millisecond)
	}
}
