// Command load makes channel operations as fast as it can, or at a given rate, and counts them
// exactly.
//
// Lines on its standard input are commands; each gets one line of JSON as its answer:
//
//	MEASURE n  one goroutine makes n sends and n receives on a buffered channel; says how long one
//	           operation took
//	START      starts the load
//	COUNT      says how many operations were begun since START, while they go on
//	STOP       stops the load and says how many there were
//
// It ends when its standard input does.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gotrace.test/programs/internal/program"
)

var (
	mode = flag.String("mode", "buffered", "buffered: each goroutine alone on its own channel, nothing blocks; pingpong: pairs on unbuffered channels")
	size = flag.Int("n", 2, "goroutines, or pairs of them")
	rate = flag.Float64("rate", 0, "operations a second, all together; 0 is as fast as possible")
	work = flag.Duration("work", 0, "CPU time that a pair takes for each ball")
)

// worker counts its operations on a cache line of its own.
type worker struct {
	sends, receives atomic.Uint64
	_               [112]byte
}

type load struct {
	stop    atomic.Bool
	done    sync.WaitGroup
	started time.Time
	workers []*worker
}

type count struct {
	Sends          uint64  `json:"sends"`
	Receives       uint64  `json:"receives"`
	ElapsedSeconds float64 `json:"elapsed_seconds"`
}

func main() {
	flag.Parse()
	runtime.GOMAXPROCS(2)
	runtime.GC()
	debug.SetGCPercent(-1)

	program.Ready(map[string]any{"mode": *mode})
	var running *load
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		switch command := strings.Fields(input.Text()); {
		case len(command) == 2 && command[0] == "MEASURE":
			n, err := strconv.Atoi(command[1])
			if err != nil || n <= 0 {
				fail(input.Text())
			}
			program.Tell(measure(n))
		case len(command) == 1 && command[0] == "START" && running == nil:
			running = begin()
			program.Tell(running.count())
		case len(command) == 1 && command[0] == "COUNT" && running != nil:
			program.Tell(running.count())
		case len(command) == 1 && command[0] == "STOP" && running != nil:
			running.stop.Store(true)
			running.done.Wait()
			program.Tell(running.count())
			running = nil
		default:
			fail(input.Text())
		}
	}
}

func fail(command string) {
	fmt.Fprintf(os.Stderr, "not a command now: %q\n", command)
	os.Exit(1)
}

// measure times n pairs of operations that never block.
func measure(n int) map[string]any {
	channel := make(chan int, 1)
	begin := time.Now()
	for i := 0; i < n; i++ {
		channel <- i
		<-channel
	}
	elapsed := time.Since(begin)
	return map[string]any{
		"operations":               2 * n,
		"nanoseconds_an_operation": float64(elapsed.Nanoseconds()) / float64(2*n),
	}
}

func begin() *load {
	l := &load{started: time.Now()}
	add := func(body func(*worker)) {
		w := &worker{}
		l.workers = append(l.workers, w)
		l.done.Add(1)
		go func() {
			defer l.done.Done()
			body(w)
		}()
	}
	for i := 0; i < *size; i++ {
		switch *mode {
		case "buffered":
			channel := make(chan int, 16)
			add(func(w *worker) { l.fillAndEmpty(w, channel) })
		case "pingpong":
			ball, back := make(chan int), make(chan int)
			add(func(w *worker) { l.ping(w, ball, back) })
			add(func(w *worker) { pong(w, ball, back) })
		default:
			fail("-mode " + *mode)
		}
	}
	return l
}

func (l *load) count() count {
	c := count{ElapsedSeconds: time.Since(l.started).Seconds()}
	for _, w := range l.workers {
		c.Sends += w.sends.Load()
		c.Receives += w.receives.Load()
	}
	return c
}

// fillAndEmpty makes 32 operations between two looks at the clock.
func (l *load) fillAndEmpty(w *worker, channel chan int) {
	pace := l.newPace(float64(2*cap(channel)) * float64(*size))
	for !l.stop.Load() {
		for i := 0; i < cap(channel); i++ {
			w.sends.Add(1)
			channel <- i
		}
		for i := 0; i < cap(channel); i++ {
			w.receives.Add(1)
			<-channel
		}
		pace.wait()
	}
}

func (l *load) ping(w *worker, ball chan<- int, back <-chan int) {
	pace := l.newPace(4 * float64(*size))
	for i := 0; !l.stop.Load(); i++ {
		w.sends.Add(1)
		ball <- i
		w.receives.Add(1)
		<-back
		pace.wait()
	}
	close(ball)
}

func pong(w *worker, ball <-chan int, back chan<- int) {
	for {
		w.receives.Add(1)
		value, ok := <-ball
		if !ok {
			return
		}
		spin(*work)
		w.sends.Add(1)
		back <- value
	}
}

// spin takes CPU time, as long as nobody else has the CPU.
func spin(long time.Duration) {
	for begin := time.Now(); long > 0 && time.Since(begin) < long; {
	}
}

// pace holds a loop back to its share of the rate.
type pace struct {
	each time.Duration
	next time.Time
}

// newPace is for a loop of which all goroutines together make `operations` in one turn.
func (l *load) newPace(operations float64) *pace {
	if *rate <= 0 {
		return &pace{}
	}
	return &pace{each: time.Duration(operations / *rate * float64(time.Second)), next: l.started}
}

func (p *pace) wait() {
	if p.each == 0 {
		return
	}
	p.next = p.next.Add(p.each)
	// Sleeping is coarse: fall behind the clock by at most a millisecond's worth, then catch up.
	if ahead := time.Until(p.next); ahead > time.Millisecond {
		time.Sleep(ahead)
	}
}
