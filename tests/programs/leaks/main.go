// Goroutines that can never run again beside goroutines that only look like it. Each says which it
// is. The program prints ready {"leaked":{goid: name}, "healthy":{goid: name}} once all of them wait, then
// obeys commands on its input: "profile" prints the runtime's own goroutine leak profile as a list of
// goids, the end of the input ends the program.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"time"
)

var truth = struct {
	sync.Mutex
	Leaked  map[string]string `json:"leaked"`
	Healthy map[string]string `json:"healthy"`
	started sync.WaitGroup
}{Leaked: map[string]string{}, Healthy: map[string]string{}}

var goidPattern = regexp.MustCompile(`goroutine (\d+) \[`)

func goid() string {
	var buf [64]byte
	return goidPattern.FindStringSubmatch(string(buf[:runtime.Stack(buf[:], false)]))[1]
}

// leaked starts a goroutine that will never run again.
func leaked(name string, f func()) { start(truth.Leaked, name, f) }

// healthy starts a goroutine that something can still wake.
func healthy(name string, f func()) { start(truth.Healthy, name, f) }

func start(list map[string]string, name string, f func()) {
	truth.started.Add(1)
	go func() {
		truth.Lock()
		list[goid()] = name
		truth.Unlock()
		truth.started.Done()
		f()
	}()
}

// ---- leaked

//go:noinline
func leakedChannels() {
	sender := make(chan int)
	leaked("sender", func() { sender <- 1 })
	receiver := make(chan string)
	leaked("range over a channel that nobody closes", func() {
		for range receiver {
		}
	})
	full := make(chan *int, 1)
	leaked("sender to a full buffer", func() {
		full <- new(int)
		full <- new(int)
	})
	a, b := make(chan int), make(chan struct{})
	leaked("select", func() {
		select {
		case a <- 1:
		case <-b:
		}
	})
	leaked("receive from a nil channel", func() { <-(chan int)(nil) })
	leaked("send to a nil channel", func() { (chan int)(nil) <- 1 })
	leaked("select without cases", func() { select {} })
	result := make(chan chan int)
	request := make(chan int)
	leaked("waits for one that is stuck", func() { <-result })
	leaked("stuck, would answer", func() {
		<-request
		result <- request
	})
	ctx, cancel := context.WithCancel(context.Background())
	leaked("context that nobody cancels", func() {
		<-ctx.Done()
		cancel()
	})
	element := &struct {
		ch  chan interface{}
		pad [100]int
	}{ch: make(chan interface{})}
	leaked("sends what leads to the channel", func() { element.ch <- element })
}

//go:noinline
func leakedCycles() {
	a, b := make(chan int), make(chan int)
	leaked("cycle of two, 1", func() { a <- <-b })
	leaked("cycle of two, 2", func() { b <- <-a })
	c, d, e := make(chan int), make(chan int), make(chan int)
	leaked("cycle of three, 1", func() { c <- <-d })
	leaked("cycle of three, 2", func() { d <- <-e })
	leaked("cycle of three, 3", func() { e <- <-c })
}

type account struct {
	sync.Mutex
	owner   string
	balance int
	next    *account
}

//go:noinline
func leakedLocks() {
	a, b := &account{owner: "a"}, &account{owner: "b"}
	var both sync.WaitGroup
	both.Add(2)
	transfer := func(from, to *account) func() {
		return func() {
			from.Lock()
			both.Done()
			both.Wait()
			to.Lock()
			to.balance += from.balance
		}
	}
	leaked("AB-BA deadlock, 1", transfer(a, b))
	leaked("AB-BA deadlock, 2", transfer(b, a))
	rw := &struct {
		sync.RWMutex
		m map[string]int
	}{m: map[string]int{}}
	leaked("write lock under its own read lock", func() {
		rw.RLock()
		rw.Lock()
		rw.m["x"] = 1
	})
	group := &struct {
		sync.WaitGroup
		name *string
	}{}
	leaked("wait group that is never done", func() {
		group.Add(1)
		group.Wait()
		group.Done()
	})
	cond := sync.NewCond(new(sync.Mutex))
	leaked("cond that nobody signals", func() {
		cond.L.Lock()
		cond.Wait()
		cond.L.Unlock()
	})
}

// ---- healthy

var (
	global    = make(chan int)
	registry  sync.Map
	queueLock sync.Mutex
	queue     = sync.NewCond(&queueLock)
	cancel    context.CancelFunc
	deep      *node
	nested    = make(chan chan int, 1)
	stop      = make(chan struct{})
)

type node struct {
	next *node
	ch   chan int
}

//go:noinline
func healthyGlobals() {
	healthy("global channel", func() { <-global })
	inMap := make(chan int)
	registry.Store("key", interface{}(inMap))
	healthy("channel in a sync.Map", func() { <-inMap })
	healthy("cond of a global queue", func() {
		queue.L.Lock()
		queue.Wait()
		queue.L.Unlock()
	})
	var ctx context.Context
	ctx, cancel = context.WithCancel(context.Background())
	healthy("context with a global cancel", func() { <-ctx.Done() })
	last := make(chan int)
	deep = &node{ch: last}
	for i := 0; i < 10000; i++ {
		deep = &node{next: deep}
	}
	healthy("channel at the end of a long list", func() { <-last })
	inner := make(chan int)
	nested <- inner
	healthy("channel in a channel's buffer", func() { <-inner })
}

//go:noinline
func healthyTimers() {
	after := make(chan int)
	time.AfterFunc(time.Hour, func() { close(after) })
	healthy("channel in a timer's function", func() { <-after })
	healthy("time.After", func() { <-time.After(time.Hour) })
	healthy("ticker", func() {
		for range time.NewTicker(time.Hour).C {
		}
	})
	never := make(chan int)
	healthy("select with a timeout", func() {
		select {
		case <-never:
		case <-time.After(time.Hour):
		}
	})
	ctx, _ := context.WithTimeout(context.Background(), time.Hour)
	healthy("context with a deadline", func() { <-ctx.Done() })
	healthy("sleep", func() { time.Sleep(time.Hour) })
	r, w := io.Pipe()
	time.AfterFunc(time.Hour, func() { w.Close() })
	healthy("pipe whose writer a timer holds", func() { io.Copy(io.Discard, r) })
}

//go:noinline
func healthyNetwork() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	topics := map[string]chan int{"a": make(chan int)}
	subscriber := topics["a"]
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { topics[r.URL.Path] <- 1 })
	healthy("server", func() { http.Serve(l, mux) })
	healthy("subscriber that a handler knows", func() { <-subscriber })

	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		panic(err)
	}
	replies := make(chan []byte)
	healthy("reader of a connection", func() {
		b := make([]byte, 10)
		c.Read(b)
		replies <- b
	})
	healthy("waits for the reader of a connection", func() { <-replies })
}

//go:noinline
func healthyHolders() {
	mu := &account{owner: "sleeper"}
	locked := make(chan struct{})
	healthy("sleeps with a lock", func() {
		mu.Lock()
		close(locked)
		time.Sleep(time.Hour)
		mu.Unlock()
	})
	<-locked
	healthy("waits for the sleeper's lock", func() { mu.Lock() })

	deferred := make(chan int)
	healthy("has a deferred close", func() { closeLater(deferred) })
	healthy("waits for a deferred close", func() { <-deferred })

	spun := make(chan int)
	healthy("runs", func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				close(spun)
				return
			default:
				runtime.Gosched()
			}
		}
	})
	healthy("waits for one that runs", func() { <-spun })

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	healthy("waits for a signal", func() { <-signals })

	chain := make([]chan int, 50)
	for i := range chain {
		chain[i] = make(chan int)
	}
	for i := range chain[1:] {
		from, to := chain[i], chain[i+1]
		healthy("stage of a pipeline", func() { to <- <-from })
	}
	first := chain[0]
	healthy("source of a pipeline", func() {
		time.Sleep(time.Hour)
		first <- 1
	})

	finalized := make(chan int)
	runtime.SetFinalizer(&account{owner: "finalized"}, func(*account) { close(finalized) })
	keep := &struct {
		ch chan int
		a  *account
	}{make(chan int), &account{}}
	runtime.SetFinalizer(keep, func(k *struct {
		ch chan int
		a  *account
	}) {
		close(k.ch)
	})
	kept := keep.ch
	healthy("waits for a finalizer's object", func() { <-kept })
	healthy("waits for a finalizer", func() { <-finalized })
}

//go:noinline
func closeLater(ch chan int) {
	for i := 0; i < 1; i++ {
		defer close(ch) // in a loop, so that the record is in the heap
	}
	time.Sleep(time.Hour)
}

func main() {
	jobs := make(chan int)
	for i := 0; i < 4; i++ {
		healthy("worker of a pool that main feeds", func() {
			for range jobs {
			}
		})
	}
	leakedChannels()
	leakedCycles()
	leakedLocks()
	healthyGlobals()
	healthyTimers()
	healthyNetwork()
	healthyHolders()
	healthyStacks()
	more()
	truth.started.Wait()
	settle()
	out, _ := json.Marshal(&truth)
	fmt.Println("ready", string(out))

	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		switch input.Text() {
		case "profile":
			fmt.Println(profile())
		}
	}
	jobs <- 1
}

// settle waits until every goroutine has done what it does before it waits.
func settle() {
	for i := 0; i < 100; i++ {
		buf := make([]byte, 1<<20)
		text := string(buf[:runtime.Stack(buf, true)])
		if strings.Count(text, "main.goid") == 0 && strings.Count(text, "[running") == 1 {
			time.Sleep(20 * time.Millisecond)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func profile() string {
	p := pprof.Lookup("goroutineleak")
	if p == nil {
		return "null"
	}
	var text strings.Builder
	p.WriteTo(&text, 2)
	list := []string{}
	for _, m := range regexp.MustCompile(`goroutine (\d+)[^\n]*\[[^\]]*leaked`).FindAllStringSubmatch(text.String(), -1) {
		list = append(list, m[1])
	}
	out, _ := json.Marshal(list)
	return string(out)
}
