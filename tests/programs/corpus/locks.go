package main

import (
	"reflect"
	"runtime"
	"sync"
	"time"
)

// Bugs in shared memory: locks, wait groups, conditions, and locks with channels.

func init() {
	add("mutex", "double-lock", doubleLock)
	add("mutex", "ab-ba", abBa)
	add("mutex", "missing-unlock", missingUnlock)
	add("mutex", "philosophers", philosophers)
	add("rwmutex", "upgrade", upgrade)
	add("rwmutex", "writer-between-readers", writerBetweenReaders)
	add("wait", "missing-done", missingDone)
	add("wait", "wait-in-the-loop", waitInTheLoop)
	add("wait", "missed-signal", missedSignal)
	add("wait", "once-in-itself", onceInItself)
	add("mixed", "lock-and-channel", lockAndChannel)
	add("mixed", "lock-and-group", lockAndGroup)
	add("mixed", "blocks-behind-the-stuck", behindTheStuck)
	add("mutex", "tiny-mutexes", tinyMutexes)
	add("mixed", "left-in-registers", leftInRegisters)
	add("mutex", "tiny-mutex-before-live", tinyBeforeLive)
	add("mutex", "tiny-mutex-behind-live", tinyBehindLive)
}

type account struct {
	sync.Mutex
	owner   string
	balance int
	next    *account
}

//go:noinline
func doubleLock() func() {
	a := &account{owner: "a"}
	add := func() {
		a.Lock()
		defer a.Unlock()
		a.balance++
	}
	stuck("locks what it has locked", func() {
		a.Lock()
		defer a.Unlock()
		add()
	})
	return nil
}

//go:noinline
func abBa() func() {
	a, b := &account{owner: "a"}, &account{owner: "b"}
	var both sync.WaitGroup
	both.Add(2)
	transfer := func(from, to *account) func() {
		return func() {
			from.Lock()
			defer from.Unlock()
			both.Done()
			both.Wait()
			to.Lock()
			defer to.Unlock()
			to.balance += from.balance
		}
	}
	stuck("from a to b", transfer(a, b))
	stuck("from b to a", transfer(b, a))
	return nil
}

//go:noinline
func missingUnlock() func() {
	a := &account{owner: "a"}
	locked := make(chan bool)
	go func() {
		a.Lock()
		locked <- true
		if a.balance == 0 {
			return // as on an error
		}
		a.Unlock()
	}()
	<-locked
	stuck("waits for one that is gone", func() {
		a.Lock()
		a.balance++
		a.Unlock()
	})
	return nil
}

//go:noinline
func philosophers() func() {
	forks := make([]*account, 5)
	for i := range forks {
		forks[i] = &account{owner: "fork"}
	}
	var all sync.WaitGroup
	all.Add(len(forks))
	for i := range forks {
		left, right := forks[i], forks[(i+1)%len(forks)]
		stuck("philosopher", func() {
			left.Lock()
			all.Done()
			all.Wait()
			right.Lock()
			right.balance++
			right.Unlock()
			left.Unlock()
		})
	}
	return nil
}

type table struct {
	sync.RWMutex
	m map[string]int
}

//go:noinline
func upgrade() func() {
	t := &table{m: map[string]int{}}
	stuck("writes while it reads", func() {
		t.RLock()
		defer t.RUnlock()
		if _, ok := t.m["x"]; !ok {
			t.Lock()
			t.m["x"] = 1
			t.Unlock()
		}
	})
	return nil
}

//go:noinline
func writerBetweenReaders() func() {
	t := &table{m: map[string]int{}}
	reading, again := make(chan bool), make(chan bool)
	stuck("reads twice", func() {
		t.RLock()
		reading <- true
		<-again
		t.RLock()
		t.RUnlock()
		t.RUnlock()
	})
	<-reading
	stuck("writes", func() {
		t.Lock()
		t.m["x"] = 1
		t.Unlock()
	})
	for t.TryRLock() { // until the writer waits
		t.RUnlock()
		runtime.Gosched()
	}
	again <- true
	return nil
}

type job struct {
	sync.WaitGroup
	name *string
}

//go:noinline
func missingDone() func() {
	j := &job{}
	j.Add(2)
	go j.Done()
	stuck("waits for two", func() {
		j.Wait()
		j.name = nil
	})
	return nil
}

//go:noinline
func waitInTheLoop() func() {
	j := &job{}
	j.Add(3)
	stuck("waits in the loop that starts them", func() {
		for i := 0; i < 3; i++ {
			go j.Done()
			j.Wait()
		}
	})
	return nil
}

//go:noinline
func missedSignal() func() {
	cond := sync.NewCond(new(sync.Mutex))
	cond.Signal() // nobody waits yet
	for i := 0; i < 2; i++ {
		stuck("waits for a signal that was", func() {
			cond.L.Lock()
			cond.Wait()
			cond.L.Unlock()
		})
	}
	return nil
}

//go:noinline
func onceInItself() func() {
	once := &struct {
		sync.Once
		name *string
	}{}
	var do func()
	do = func() { once.Do(do) }
	stuck("does once what does it", func() { do() })
	return nil
}

//go:noinline
func lockAndChannel() func() {
	a, ch := &account{owner: "a"}, make(chan int)
	locked := make(chan bool)
	stuck("sends with the lock", func() {
		a.Lock()
		defer a.Unlock()
		locked <- true
		ch <- 1
	})
	<-locked
	stuck("locks before it receives", func() {
		a.Lock()
		defer a.Unlock()
		<-ch
	})
	return nil
}

//go:noinline
func lockAndGroup() func() {
	a, j := &account{owner: "a"}, &job{}
	j.Add(1)
	locked := make(chan bool)
	stuck("waits with the lock", func() {
		a.Lock()
		locked <- true
		j.Wait()
		a.Unlock()
	})
	<-locked
	stuck("locks before it is done", func() {
		a.Lock()
		a.balance++
		a.Unlock()
		j.Done()
	})
	return nil
}

//go:noinline
func behindTheStuck() func() {
	c, d, out := make(chan int), make(chan int), make(chan int)
	stuck("one of the cycle", func() { c <- <-d })
	stuck("two of the cycle", func() { d <- <-c; out <- 1 })
	for i := 0; i < 10; i++ {
		stuck("waits for the cycle", func() { <-out })
	}
	return nil
}

// The tiny allocator puts what has no pointers and less than 16 bytes into blocks of 16.

//go:noinline
func tinyMutexes() func() {
	a, b := new(sync.Mutex), new(sync.Mutex)
	for address(a)&^15 != address(b)&^15 {
		a, b = b, new(sync.Mutex)
	}
	locked, go1, go2 := make(chan bool), make(chan bool), make(chan bool)
	cross := func(first, second *sync.Mutex, on chan bool) func() {
		return func() {
			first.Lock()
			locked <- true
			<-on
			second.Lock()
		}
	}
	stuck("a then b", cross(a, b, go1))
	stuck("b then a", cross(b, a, go2))
	<-locked
	<-locked
	go1 <- true
	go2 <- true
	return nil
}

func address(p any) uintptr { return reflect.ValueOf(p).Pointer() }

// beside makes a mutex and a counter in one block, the mutex first or behind.
//
//go:noinline
func beside(first bool) (*sync.Mutex, *int64) {
	for {
		var mu *sync.Mutex
		var n *int64
		if first {
			mu, n = new(sync.Mutex), new(int64)
		} else {
			n, mu = new(int64), new(sync.Mutex)
		}
		a, b := address(mu), address(n)
		if a&^15 == b&^15 && (a < b) == first {
			return mu, n
		}
	}
}

//go:noinline
func tinyBeforeLive() func() {
	mu, n := beside(true)
	mu.Lock()
	stuckUnseen(byBlock, "waits for a mutex before a live counter", func() { mu.Lock() })
	return func() { *n++ }
}

//go:noinline
func tinyBehindLive() func() {
	mu, n := beside(false)
	mu.Lock()
	stuckUnseen(byBlock, "waits for a mutex behind a live counter", func() { mu.Lock() })
	return func() { *n++ }
}

// crew is too large for general registers: it is moved through vector registers.
type crew [4]chan int

//go:noinline
func moveCrew(from, to *crew, times int) {
	for i := 0; i < times; i++ {
		*to = *from
	}
}

// leftInRegisters is preempted while a vector register holds both channels. From Go 1.26 on the runtime keeps such
// registers where nothing clears them when their goroutine has gone on.
//
//go:noinline
func leftInRegisters() func() {
	a, b := make(chan int), make(chan int)
	moved := make(chan bool)
	go func() {
		from, to := &crew{a, b, a, b}, &crew{}
		for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
			moveCrew(from, to, 10_000_000)
		}
		*from, *to = crew{}, crew{}
		close(moved)
	}()
	<-moved
	stuck("one", func() { <-a; b <- 1 })
	stuck("the other", func() { <-b; a <- 1 })
	return nil
}
