package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"reflect"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Goroutines that are idle for good reasons, and look like leaked ones.

func init() {
	add("idle", "worker-pool", workerPool)
	add("idle", "accept-loop", acceptLoop)
	add("idle", "http-keep-alive", keepAlive)
	add("idle", "publisher-without-traffic", publisherWithoutTraffic)
	add("idle", "long-poll", longPoll)
	add("idle", "main-select-without-cases", mainSelectWithoutCases)
	add("idle", "main-waits-on-its-own-channel", mainWaitsOnItsOwn)
	add("idle", "main-waits-for-signal", mainWaitsForSignal)
	add("idle", "shutdown-channel", shutdownChannel)
	add("idle", "shutdown-method", shutdownMethod)
	add("idle", "signal-handler", signalHandler)
	add("idle", "queue-with-cond", queueWithCond)
	add("idle", "rate-limiter", rateLimiter)
	add("idle", "single-flight", singleFlight)
	add("idle", "reads-a-pipe", readsAPipe)
	add("idle", "in-a-system-call", inASystemCall)
	add("idle", "reflected-select", reflectedSelect)
	add("idle", "locked-thread-idle", lockedThreadIdle)
	add("timer", "time-after", timeAfter)
	add("timer", "ticker", ticker)
	add("timer", "after-func", afterFunc)
	add("timer", "timer-to-be-reset", timerToBeReset)
	add("timer", "context-deadline", contextDeadline)
	add("timer", "pipe-of-timer", pipeOfTimer)
	add("holder", "sleeps-with-lock", sleepsWithLock)
	add("holder", "group-of-sleepers", groupOfSleepers)
	add("holder", "readers-and-writer", readersAndWriter)
	add("holder", "deferred-close", deferredClose)
	add("holder", "pipeline", pipeline)
	add("holder", "runs", runs)
	add("holder", "end-of-a-list", endOfAList)
	add("holder", "in-a-buffer", inABuffer)
	add("holder", "tiny-mutex-held", tinyMutexHeld)
	add("holder", "sent-element", sentElement)
	add("holder", "context-cancelled-later", contextCancelledLater)
}

//go:noinline
func workerPool() func() {
	jobs := make(chan int)
	for i := 0; i < 8; i++ {
		healthy("worker", func() {
			for range jobs {
			}
		})
	}
	return func() { close(jobs) }
}

func listen() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	return l
}

//go:noinline
func acceptLoop() func() {
	l, conns := listen(), make(chan net.Conn)
	healthy("accepts", func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c
		}
	})
	for i := 0; i < 3; i++ {
		healthy("waits for a connection", func() {
			for c := range conns {
				c.Close()
			}
		})
	}
	return nil
}

//go:noinline
func keepAlive() func() {
	l := listen()
	healthy("server", func() {
		http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	})
	done := make(chan bool)
	healthy("client that keeps its connection", func() {
		r, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			panic(err)
		}
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
		done <- true
		time.Sleep(time.Hour)
		runtime.KeepAlive(r)
	})
	<-done
	return nil
}

//go:noinline
func publisherWithoutTraffic() func() {
	l := listen()
	topics := map[string]chan int{"a": make(chan int), "b": make(chan int)}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { topics[r.URL.Path[1:]] <- 1 })
	healthy("server", func() { http.Serve(l, mux) })
	for _, ch := range topics {
		ch := ch
		healthy("subscriber", func() {
			for range ch {
			}
		})
	}
	return nil
}

//go:noinline
func longPoll() func() {
	l, news := listen(), make(chan string)
	polled := make(chan bool, 1)
	healthy("server", func() {
		http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			polled <- true
			select {
			case text := <-news:
				io.WriteString(w, text)
			case <-r.Context().Done():
			}
		}))
	})
	healthy("polls", func() {
		r, err := http.Get("http://" + l.Addr().String())
		if err == nil {
			r.Body.Close()
		}
	})
	<-polled
	return nil
}

//go:noinline
func mainSelectWithoutCases() func() {
	l := listen()
	healthy("server", func() { http.Serve(l, nil) })
	mainIdle(func() { select {} })
	return nil
}

//go:noinline
func mainWaitsOnItsOwn() func() {
	l := listen()
	healthy("server", func() { http.Serve(l, nil) })
	mainIdle(func() { <-make(chan bool) })
	return nil
}

//go:noinline
func mainWaitsForSignal() func() {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGTERM)
	stop := make(chan struct{})
	healthy("waits for main", func() { <-stop })
	mainIdle(func() {
		<-ch
		close(stop)
	})
	return nil
}

var stopAll = make(chan struct{})

//go:noinline
func shutdownChannel() func() {
	for i := 0; i < 3; i++ {
		healthy("singleton", func() { <-stopAll })
	}
	return stopEverything
}

//go:noinline
func stopEverything() { close(stopAll) }

type service interface{ stop() }

type cache struct{ quit chan struct{} }

func (c *cache) stop() { close(c.quit) }

var services []service

//go:noinline
func shutdownMethod() func() {
	c := &cache{make(chan struct{})}
	services = append(services, c)
	healthy("singleton", func() { <-c.quit })
	return func() {
		for _, s := range services {
			s.stop()
		}
	}
}

var reload = make(chan bool)

//go:noinline
func signalHandler() func() {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGHUP)
	healthy("handles signals", func() {
		for range ch {
			reload <- true
		}
	})
	healthy("reloads on a signal", func() {
		for range reload {
		}
	})
	return nil
}

type fifo struct {
	sync.Mutex
	ready *sync.Cond
	items []string
}

//go:noinline
func queueWithCond() func() {
	q := &fifo{}
	q.ready = sync.NewCond(q)
	for i := 0; i < 3; i++ {
		healthy("consumer", func() {
			q.Lock()
			for len(q.items) == 0 {
				q.ready.Wait()
			}
			q.items = q.items[1:]
			q.Unlock()
		})
	}
	return func() {
		q.Lock()
		q.items = append(q.items, "x")
		q.Unlock()
		q.ready.Signal()
	}
}

//go:noinline
func rateLimiter() func() {
	tokens := make(chan struct{})
	healthy("gives tokens", func() {
		for range time.NewTicker(time.Hour).C {
			tokens <- struct{}{}
		}
	})
	for i := 0; i < 3; i++ {
		healthy("waits for a token", func() { <-tokens })
	}
	return nil
}

type call struct {
	done  sync.WaitGroup
	value *int
}

//go:noinline
func singleFlight() func() {
	var mu sync.Mutex
	calls := map[string]*call{}
	flying := make(chan bool)
	get := func(name string) *int {
		mu.Lock()
		if c := calls[name]; c != nil {
			mu.Unlock()
			c.done.Wait()
			return c.value
		}
		c := &call{}
		c.done.Add(1)
		calls[name] = c
		mu.Unlock()
		flying <- true
		time.Sleep(time.Hour)
		c.value = new(int)
		c.done.Done()
		return c.value
	}
	healthy("flies", func() { get("x") })
	<-flying
	for i := 0; i < 3; i++ {
		healthy("waits for its answer", func() { get("x") })
	}
	return nil
}

//go:noinline
func readsAPipe() func() {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	lines := make(chan string)
	healthy("reads a pipe", func() {
		for input := bufio.NewScanner(r); input.Scan(); {
			lines <- input.Text()
		}
	})
	healthy("waits for lines", func() {
		for range lines {
		}
	})
	return func() { w.Close() }
}

//go:noinline
func inASystemCall() func() {
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil {
		panic(err)
	}
	lines := make(chan string)
	busy("reads without the poller", func() {
		var b [1]byte
		syscall.Read(fds[0], b[:])
		lines <- string(b[:])
	})
	healthy("waits for lines", func() { <-lines })
	return func() { syscall.Close(fds[1]) }
}

//go:noinline
func reflectedSelect() func() {
	a, b := make(chan int), make(chan string)
	healthy("selects by reflection", func() {
		reflect.Select([]reflect.SelectCase{
			{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(a)},
			{Dir: reflect.SelectSend, Chan: reflect.ValueOf(b), Send: reflect.ValueOf("x")},
		})
	})
	return func() { reflect.ValueOf(a).Close() }
}

//go:noinline
func lockedThreadIdle() func() {
	calls := make(chan func())
	healthy("does all on one thread", func() {
		runtime.LockOSThread()
		for f := range calls {
			f()
		}
	})
	return func() { close(calls) }
}

// ---- timers

//go:noinline
func timeAfter() func() {
	never := make(chan int)
	healthy("time.After", func() { <-time.After(time.Hour) })
	healthy("select with a timeout", func() {
		select {
		case <-never:
		case <-time.After(time.Hour):
		}
	})
	late := make(chan int)
	healthy("sends when it is time", func() {
		<-time.After(time.Hour)
		late <- 1
	})
	healthy("waits for that", func() { <-late })
	return nil
}

//go:noinline
func ticker() func() {
	healthy("ticks", func() {
		for range time.NewTicker(time.Hour).C {
		}
	})
	healthy("time.Tick", func() {
		for range time.Tick(time.Hour) {
		}
	})
	return nil
}

var alarm = make(chan int)

//go:noinline
func afterFunc() func() {
	after, done := make(chan int), make(chan struct{})
	time.AfterFunc(time.Hour, func() { close(after) })
	time.AfterFunc(time.Hour, func() { close(alarm); close(done) })
	healthy("waits for a timer's function", func() { <-after })
	healthy("waits for one that uses a global", func() { <-alarm })
	healthy("waits for its other channel", func() { <-done })
	return nil
}

//go:noinline
func timerToBeReset() func() {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	c := timer.C
	healthy("waits for a stopped timer that main resets", func() { <-c })
	return func() { timer.Reset(time.Second) }
}

//go:noinline
func contextDeadline() func() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	healthy("waits for a deadline", func() {
		<-ctx.Done()
		cancel()
	})
	child, childCancel := context.WithCancel(ctx)
	healthy("waits for the parent's deadline", func() {
		<-child.Done()
		childCancel()
	})
	return nil
}

//go:noinline
func pipeOfTimer() func() {
	r, w := io.Pipe()
	time.AfterFunc(time.Hour, func() { w.Close() })
	healthy("reads", func() { io.Copy(io.Discard, r) })
	return nil
}

// ---- what another one holds

//go:noinline
func sleepsWithLock() func() {
	mu, locked := &account{owner: "sleeper"}, make(chan struct{})
	healthy("sleeps with a lock", func() {
		mu.Lock()
		close(locked)
		time.Sleep(time.Hour)
		mu.Unlock()
	})
	<-locked
	for i := 0; i < 3; i++ {
		healthy("waits for it", func() {
			mu.Lock()
			mu.balance++
			mu.Unlock()
		})
	}
	return nil
}

//go:noinline
func groupOfSleepers() func() {
	j := &job{}
	j.Add(3)
	for i := 0; i < 3; i++ {
		healthy("sleeps", func() {
			defer j.Done()
			time.Sleep(time.Hour)
		})
	}
	healthy("waits for them", func() { j.Wait() })
	return nil
}

//go:noinline
func readersAndWriter() func() {
	t, locked := &table{m: map[string]int{}}, make(chan bool)
	healthy("reads for an hour", func() {
		t.RLock()
		defer t.RUnlock()
		locked <- true
		time.Sleep(time.Hour)
	})
	<-locked
	healthy("wants to write", func() { t.Lock(); t.Unlock() })
	for t.TryRLock() {
		t.RUnlock()
		runtime.Gosched()
	}
	healthy("wants to read behind it", func() { t.RLock(); t.RUnlock() })
	return nil
}

//go:noinline
func deferredClose() func() {
	deferred := make(chan int)
	healthy("has a deferred close", func() { closeLater(deferred) })
	healthy("waits for it", func() { <-deferred })
	return nil
}

//go:noinline
func closeLater(ch chan int) {
	for i := 0; i < 1; i++ {
		defer close(ch) // in a loop, so that the record is in the heap
	}
	time.Sleep(time.Hour)
}

//go:noinline
func pipeline() func() {
	chain := make([]chan int, 50)
	for i := range chain {
		chain[i] = make(chan int)
	}
	for i := range chain[1:] {
		from, to := chain[i], chain[i+1]
		healthy("stage", func() { to <- <-from })
	}
	first := chain[0]
	healthy("source", func() {
		time.Sleep(time.Hour)
		first <- 1
	})
	return nil
}

//go:noinline
func runs() func() {
	stop, spun := make(chan struct{}), make(chan int)
	busy("runs", func() {
		for {
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
	return func() { close(stop) }
}

type node struct {
	next *node
	ch   chan int
}

var deep *node

//go:noinline
func endOfAList() func() {
	last := make(chan int)
	deep = &node{ch: last}
	for i := 0; i < 10000; i++ {
		deep = &node{next: deep}
	}
	healthy("waits at the end of a long list", func() { <-last })
	return func() {
		for n := deep; n != nil; n = n.next {
			if n.ch != nil {
				close(n.ch)
			}
		}
	}
}

//go:noinline
func inABuffer() func() {
	nested, inner := make(chan chan int, 1), make(chan int)
	nested <- inner
	healthy("waits on a channel that lies in a buffer", func() { <-inner })
	return func() { close(<-nested) }
}

//go:noinline
func tinyMutexHeld() func() {
	before, n := beside(true)
	before.Lock()
	healthy("waits for a mutex before a counter", func() { before.Lock() })
	m, behind := beside(true)
	behind2 := &struct {
		n  int32
		mu sync.Mutex
	}{}
	behind2.mu.Lock()
	healthy("waits for a mutex in a small struct", func() { behind2.mu.Lock() })
	last := &struct {
		n  int64
		mu sync.Mutex
	}{}
	last.mu.Lock()
	healthy("waits for a mutex at the end of a block", func() { last.mu.Lock() })
	return func() {
		*n++
		*behind++
		m.Lock()
		before.Unlock()
		behind2.mu.Unlock()
		last.mu.Unlock()
	}
}

//go:noinline
func sentElement() func() {
	// Somebody waits to send the channel on which another one waits.
	out, inner := make(chan chan int), make(chan int)
	healthy("sends a channel", func() { out <- inner })
	healthy("waits on it", func() { <-inner })
	return func() { close(<-out) }
}

//go:noinline
func contextCancelledLater() func() {
	ctx, cancel := context.WithCancel(context.Background())
	for i := 0; i < 3; i++ {
		healthy("waits for the context", func() { <-ctx.Done() })
	}
	return cancel
}
