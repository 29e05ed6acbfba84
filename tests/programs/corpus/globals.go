package main

import (
	"context"
	"sync"
)

// Bugs behind a global variable: the runtime's own profile takes it that somebody will use the variable.
// Whether that is so can be told from the code that can still run.

func init() {
	add("global", "global-channel", globalChannel)
	add("global", "global-struct", globalStruct)
	add("global", "global-map", globalMap)
	add("global", "global-subscribers", globalSubscribers)
	add("global", "global-context", globalContext)
	add("global", "global-closure", globalClosure)
	add("global", "global-buffer", globalBuffer)
	add("global", "global-select", globalSelect)
	add("global", "global-double-lock", globalDoubleLock)
	add("global", "global-ab-ba", globalAbBa)
	add("global", "global-missing-unlock", globalMissingUnlock)
	add("global", "global-upgrade", globalUpgrade)
	add("global", "global-group", globalGroup)
	add("global", "global-cond", globalCond)
	add("global", "global-method", globalMethod)
	add("global", "global-lock-in-use", globalLockInUse)
	add("global", "global-map-in-use", globalMapInUse)
}

var never = make(chan int)

//go:noinline
func globalChannel() func() {
	stuckUnseen(byGlobal, "waits on a channel that only it knows", func() { <-never })
	return nil
}

type worker struct {
	name string
	in   chan string
	out  chan []byte
}

var singleton *worker

//go:noinline
func globalStruct() func() {
	singleton = &worker{name: "singleton", in: make(chan string), out: make(chan []byte)}
	stuckUnseen(byGlobal, "worker", func() {
		for name := range singleton.in {
			singleton.out <- []byte(name)
		}
	})
	singleton.in <- "x"
	return nil
}

var sessions = map[string]*worker{}

//go:noinline
func globalMap() func() {
	for _, name := range []string{"a", "b", "c"} {
		w := &worker{name: name, in: make(chan string)}
		sessions[name] = w
		stuckUnseen(byGlobal, "session that nobody removes", func() { <-w.in })
	}
	return nil
}

var subscribers []chan<- int

//go:noinline
func globalSubscribers() func() {
	for i := 0; i < 3; i++ {
		ch := make(chan int)
		subscribers = append(subscribers, ch)
		stuckUnseen(byGlobal, "subscriber whose publisher is gone", func() {
			for range ch {
			}
		})
	}
	published := make(chan bool)
	go func() {
		for _, s := range subscribers {
			s <- 1
		}
		published <- true
	}()
	<-published
	return nil
}

var lostCancel context.CancelFunc

//go:noinline
func globalContext() func() {
	var ctx context.Context
	ctx, lostCancel = context.WithCancel(context.Background())
	stuckUnseen(byGlobal, "waits for a cancel that nobody calls", func() { <-ctx.Done() })
	return nil
}

var callback func(int)

//go:noinline
func globalClosure() func() {
	ch := make(chan int)
	callback = func(n int) { ch <- n }
	stuckUnseen(byGlobal, "waits for a callback that nobody calls", func() { <-ch })
	return nil
}

var results = make(chan *int, 1)

//go:noinline
func globalBuffer() func() {
	stuckUnseen(byGlobal, "fills a global buffer", func() {
		for {
			results <- new(int)
		}
	})
	return nil
}

var left, right = make(chan int), make(chan string)

//go:noinline
func globalSelect() func() {
	stuckUnseen(byGlobal, "selects", func() {
		select {
		case <-left:
		case right <- "x":
		}
	})
	return nil
}

var registryLock sync.Mutex

//go:noinline
func globalDoubleLock() func() {
	stuckUnseen(byGlobal, "locks what it has locked", func() {
		registryLock.Lock()
		defer registryLock.Unlock()
		registryLock.Lock()
	})
	return nil
}

var users, orders struct {
	sync.Mutex
	n int
}

//go:noinline
func globalAbBa() func() {
	var both sync.WaitGroup
	both.Add(2)
	stuckUnseen(byGlobal, "users, then orders", func() {
		users.Lock()
		both.Done()
		both.Wait()
		orders.Lock()
		orders.n++
	})
	stuckUnseen(byGlobal, "orders, then users", func() {
		orders.Lock()
		both.Done()
		both.Wait()
		users.Lock()
		users.n++
	})
	return nil
}

var poolLock sync.Mutex

//go:noinline
func globalMissingUnlock() func() {
	locked := make(chan bool)
	go func() {
		poolLock.Lock()
		locked <- true
	}()
	<-locked
	for i := 0; i < 3; i++ {
		stuckUnseen(byGlobal, "waits for one that is gone", func() {
			poolLock.Lock()
			defer poolLock.Unlock()
		})
	}
	return nil
}

var settings table

//go:noinline
func globalUpgrade() func() {
	stuckUnseen(byGlobal, "writes while it reads", func() {
		settings.RLock()
		settings.Lock()
		settings.Unlock()
		settings.RUnlock()
	})
	return nil
}

var jobs sync.WaitGroup

//go:noinline
func globalGroup() func() {
	jobs.Add(2)
	go jobs.Done()
	stuckUnseen(byGlobal, "waits for two", func() { jobs.Wait() })
	return nil
}

var (
	queueLock sync.Mutex
	queue     = sync.NewCond(&queueLock)
)

//go:noinline
func globalCond() func() {
	stuckUnseen(byGlobal, "waits for a signal that nobody gives", func() {
		queue.L.Lock()
		queue.Wait()
		queue.L.Unlock()
	})
	return nil
}

type broker struct {
	mu     sync.Mutex
	topics map[string]chan int
}

func (b *broker) topic(name string) chan int {
	b.mu.Lock()
	defer b.mu.Unlock()
	ch := b.topics[name]
	if ch == nil {
		ch = make(chan int)
		b.topics[name] = ch
	}
	return ch
}

var central = &broker{topics: map[string]chan int{}}

//go:noinline
func globalMethod() func() {
	ch := central.topic("x")
	stuckUnseen(byGlobal, "waits on a topic that nobody asks for", func() { <-ch })
	return nil
}

// The last two nobody can tell from healthy ones without knowing what the program means: the main
// goroutine may use the variable, and does not.

var statsLock sync.Mutex

//go:noinline
func globalLockInUse() func() {
	stuckUnseen(byGlobal, "locks what it has locked, as others may", func() {
		statsLock.Lock()
		statsLock.Lock()
	})
	return func() { statsLock.TryLock() }
}

var topics = map[string]chan int{}

//go:noinline
func globalMapInUse() func() {
	ch := make(chan int)
	topics["gone"] = ch
	stuckUnseen(byGlobal, "waits in a map under a key that nobody uses", func() { <-ch })
	return func() {
		if ch := topics["here"]; ch != nil {
			ch <- 1
		}
	}
}
