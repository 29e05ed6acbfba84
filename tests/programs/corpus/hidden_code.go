package main

import (
	"reflect"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// More of these: ways in which code hides from one who looks for who uses a variable.

func init() {
	add("global idle", "by-closure-of-a-number", byClosureOfANumber)
	add("global idle", "by-method-expression", byMethodExpression)
	add("global idle", "by-type-of-a-field", byTypeOfAField)
	add("global idle", "by-switch", bySwitch)
	add("global idle", "by-static-slice", byStaticSlice)
	add("global idle", "by-address-in-a-map", byAddressInAMap)
	add("global idle", "by-embedded-interface", byEmbeddedInterface)
	add("global idle", "by-made-function", byMadeFunction)
	add("global idle", "by-argument", byArgument)
	add("global idle", "by-lock", byLock)
	add("global idle", "by-group", byGroup)
	add("holder", "by-queued-finalizer", byQueuedFinalizer)
}

var one31 = make(chan int)

//go:noinline
func byClosureOfANumber() func() {
	healthy("waits", func() { <-one31 })
	return numbered(len(roles))
}

// The closure has no pointers: its code and a number.
//
//go:noinline
func numbered(n int) func() {
	return func() {
		if n > 0 {
			close(one31)
		}
	}
}

var one32 = make(chan int)

type shut32 struct{ n int }

func (s *shut32) close() { close(one32) }

//go:noinline
func byMethodExpression() func() {
	healthy("waits", func() { <-one32 })
	f := (*shut32).close
	s := &shut32{1}
	return func() { f(s) }
}

var one33 = make(chan int)

type inner33 struct{ n int }

// Shut is found by its name, in the type of a field.
func (inner33) Shut() { close(one33) }

type outer33 struct {
	Name  string
	Inner inner33
}

//go:noinline
func byTypeOfAField() func() {
	healthy("waits", func() { <-one33 })
	var v any = &outer33{Name: "x"}
	return func() { reflect.ValueOf(v).Elem().Field(1).MethodByName("Shut").Call(nil) }
}

var one34 = make(chan int)

//go:noinline
func bySwitch() func() {
	healthy("sleeps before a switch", func() { switched(strconv.Itoa(len(roles))) })
	healthy("waits", func() { <-one34 })
	return nil
}

//go:noinline
func switched(s string) {
	for i := 0; ; i++ {
		time.Sleep(time.Hour)
		switch len(s) + i {
		case 0:
			println("zero")
		case 1:
			s += "a"
		case 2:
			s += "bb"
		case 3:
			println("three")
		case 4:
			close(one34)
		case 5:
			s = s[1:]
		case 6:
			println("six")
		case 7:
			s += "c"
		case 8:
			println("eight")
		case 9:
			return
		}
	}
}

var one35 = make(chan int)

func closeOne35() { close(one35) }

var staticSlice = []struct {
	name string
	f    func()
}{{"nothing", nothing}, {"close", closeOne35}}

//go:noinline
func byStaticSlice() func() {
	healthy("waits", func() { <-one35 })
	return func() {
		for _, entry := range staticSlice {
			entry.f()
		}
	}
}

var one36 chan int
var addresses = map[string]*chan int{"one": &one36}

//go:noinline
func byAddressInAMap() func() {
	one36 = make(chan int)
	healthy("waits", func() { <-one36 })
	return func() { close(*addresses["one"]) }
}

var one37 = make(chan int)

type base37 struct{}

func (base37) Close() error { close(one37); return nil }

type derived37 struct {
	name string
	closer
}

//go:noinline
func byEmbeddedInterface() func() {
	healthy("waits", func() { <-one37 })
	var c closer = &derived37{"x", base37{}}
	return func() { c.Close() }
}

var one38 = make(chan int)

//go:noinline
func byMadeFunction() func() {
	healthy("waits", func() { <-one38 })
	made := reflect.MakeFunc(reflect.TypeOf(func() {}), func([]reflect.Value) []reflect.Value {
		close(one38)
		return nil
	})
	f := made.Interface().(func())
	return f
}

var one39 = make(chan int)

//go:noinline
func byArgument() func() {
	healthy("sleeps with it as an argument", func() { sleepAndClose(one39) })
	healthy("waits", func() { <-one39 })
	return nil
}

//go:noinline
func sleepAndClose(ch chan int) {
	time.Sleep(time.Hour)
	close(ch)
}

var lock40 sync.Mutex

//go:noinline
func byLock() func() {
	locked := make(chan bool)
	healthy("sleeps with a global lock", func() {
		lock40.Lock()
		defer lock40.Unlock()
		locked <- true
		time.Sleep(time.Hour)
	})
	<-locked
	healthy("waits for it", func() {
		lock40.Lock()
		defer lock40.Unlock()
	})
	return nil
}

var group41 sync.WaitGroup

//go:noinline
func byGroup() func() {
	group41.Add(2)
	for i := 0; i < 2; i++ {
		healthy("works", func() {
			defer group41.Done()
			time.Sleep(time.Hour)
		})
	}
	healthy("waits for them", func() { group41.Wait() })
	return nil
}

func byQueuedFinalizer() func() { return behindOneThatBlocks(finalize) }

// behindOneThatBlocks lets the runtime run two functions by and by, of which the first does not return:
// what the second one needs nothing else leads to.
//
//go:noinline
func behindOneThatBlocks(later func(func())) func() {
	first, goOn, late := make(chan bool), make(chan bool), make(chan int)
	later(func() { first <- true; <-goOn })
	for done := false; !done; {
		runtime.GC()
		select {
		case <-first:
			done = true
		default:
			runtime.Gosched()
		}
	}
	later(func() { close(late) })
	runtime.GC()
	runtime.GC()
	healthy("waits for one that waits for another one", func() { <-late })
	return func() { close(goOn) }
}

//go:noinline
func finalize(f func()) {
	runtime.SetFinalizer(&owned{new(int)}, func(*owned) { f() })
}
