package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// Healthy goroutines on a global variable that the code which can still run uses in a hidden way.

func init() {
	add("global idle", "by-interface", byInterface)
	add("global idle", "by-table-of-functions", byTable)
	add("global idle", "by-map-of-functions", byMap)
	add("global idle", "by-reflection", byReflection)
	add("global idle", "by-marshaller", byMarshaller)
	add("global idle", "by-stringer", byStringer)
	add("global idle", "by-generic", byGeneric)
	add("global idle", "by-deferred", byDeferred)
	add("global idle", "by-recover", byRecover)
	add("global idle", "by-callback", byCallback)
	add("global idle", "by-once", byOnce)
	add("global idle", "by-handler", byHandler)
	add("global idle", "by-atomic-value", byAtomicValue)
	add("global idle", "by-sync-map", bySyncMap)
	add("global idle", "by-pointer-to-global", byPointer)
	add("global idle", "by-array-of-globals", byArray)
	add("global idle", "by-finalizer", byFinalizer)
	add("global idle", "by-pool", byPool)
	add("global idle", "by-handle", byHandle)
	add("global idle", "by-method-value", byMethodValue)
	add("global idle", "by-goroutine-yet-to-start", byLoop)
}

type closer interface{ Close() error }

type doorOne struct{}

func (doorOne) Close() error { close(one1); return nil }

var one1 = make(chan int)
var door closer

//go:noinline
func byInterface() func() {
	door = doorOne{}
	healthy("waits", func() { <-one1 })
	return func() { door.Close() }
}

var one2 = make(chan int)

func closeOne2() { close(one2) }
func nothing()   {}

var tableOfFunctions = [...]func(){nothing, closeOne2, nothing}

//go:noinline
func byTable() func() {
	healthy("waits", func() { <-one2 })
	return func() {
		for _, f := range tableOfFunctions {
			f()
		}
	}
}

var one3 = make(chan int)

func closeOne3() { close(one3) }

var commands = map[string]func(){"close": closeOne3, "nothing": nothing}

//go:noinline
func byMap() func() {
	healthy("waits", func() { <-one3 })
	return func() { commands["close"]() }
}

var one4 = make(chan int)

type reflected struct{ name string }

// Shut is found by its name.
func (*reflected) Shut() { close(one4) }

//go:noinline
func byReflection() func() {
	healthy("waits", func() { <-one4 })
	var v any = &reflected{"x"}
	return func() { reflect.ValueOf(v).MethodByName("Shut").Call(nil) }
}

var one5 = make(chan int)

type marshalled struct{ n int }

func (marshalled) MarshalJSON() ([]byte, error) { close(one5); return []byte("1"), nil }

//go:noinline
func byMarshaller() func() {
	healthy("waits", func() { <-one5 })
	v := map[string]any{"x": []marshalled{{1}}}
	return func() { json.Marshal(v) }
}

var one6 = make(chan int)

type shown struct{ n int }

func (shown) String() string { close(one6); return "shown" }

//go:noinline
func byStringer() func() {
	healthy("waits", func() { <-one6 })
	var v any = shown{1}
	return func() { _ = fmt.Sprint(v) }
}

var one7 = make(chan int)

type shutter interface{ shut() }
type shutA struct{ n int }
type shutB struct{ s string }

func (shutA) shut() { close(one7) }
func (shutB) shut() {}

//go:noinline
func shutAll[T shutter](list []T) {
	for _, s := range list {
		s.shut()
	}
}

//go:noinline
func byGeneric() func() {
	healthy("waits", func() { <-one7 })
	return func() {
		shutAll([]shutA{{1}})
		shutAll([]shutB{{"x"}})
	}
}

var one8 = make(chan int)

//go:noinline
func byDeferred() func() {
	healthy("sleeps with a deferred close", func() {
		defer func() { close(one8) }()
		time.Sleep(time.Hour)
	})
	healthy("waits", func() { <-one8 })
	return nil
}

var one9 = make(chan int)

//go:noinline
func byRecover() func() {
	healthy("recovers later", func() {
		defer func() {
			if recover() != nil {
				close(one9)
			}
		}()
		time.Sleep(time.Hour)
		panic("x")
	})
	healthy("waits", func() { <-one9 })
	return nil
}

var one10 = make(chan int)

//go:noinline
func byCallback() func() {
	healthy("sorts", func() {
		sort.Slice([]int{3, 2, 1}, func(i, j int) bool {
			time.Sleep(time.Hour)
			close(one10)
			return false
		})
	})
	healthy("waits", func() { <-one10 })
	return nil
}

var one11 = make(chan int)
var once11 sync.Once

//go:noinline
func byOnce() func() {
	healthy("waits", func() { <-one11 })
	return func() { once11.Do(func() { close(one11) }) }
}

var one12 = make(chan int)

//go:noinline
func byHandler() func() {
	l := listen()
	http.HandleFunc("/close", func(http.ResponseWriter, *http.Request) { close(one12) })
	healthy("server", func() { http.Serve(l, nil) })
	healthy("waits", func() { <-one12 })
	return nil
}

var one13 = make(chan int)
var hook atomic.Value

//go:noinline
func byAtomicValue() func() {
	hook.Store(func() { close(one13) })
	healthy("waits", func() { <-one13 })
	return func() { hook.Load().(func())() }
}

var registry sync.Map

//go:noinline
func bySyncMap() func() {
	ch := make(chan int)
	registry.Store("key", any(ch))
	healthy("waits", func() { <-ch })
	return func() {
		registry.Range(func(_, v any) bool {
			close(v.(chan int))
			return true
		})
	}
}

var one15 = make(chan int)
var pointer15 = &one15

//go:noinline
func byPointer() func() {
	healthy("waits", func() { <-one15 })
	p := pointer15
	return func() { close(*p) }
}

var ones = [4]struct {
	n  int
	ch chan int
}{{n: 1}, {n: 2}, {n: 3}, {n: 4}}

//go:noinline
func byArray() func() {
	ones[3].ch = make(chan int)
	healthy("waits", func() { <-ones[3].ch })
	list := ones[1:]
	return func() { close(list[len(list)-1].ch) }
}

var one17 = make(chan int)

type owned struct{ p *int }

//go:noinline
func byFinalizer() func() {
	late := make(chan int)
	o := &owned{new(int)}
	runtime.SetFinalizer(o, func(*owned) { close(one17) })
	kept := &owned{new(int)}
	runtime.SetFinalizer(kept, func(*owned) { close(late) })
	healthy("waits", func() { <-one17 })
	healthy("waits for one with a channel", func() { <-late })
	return func() { runtime.KeepAlive(o); runtime.KeepAlive(kept) }
}

type buffer struct{ ch chan int }

var pool = sync.Pool{New: func() any { return &buffer{make(chan int)} }}

//go:noinline
func byPool() func() {
	b := &buffer{make(chan int)}
	ch := b.ch
	pool.Put(b)
	healthy("waits on a channel in a pool", func() { <-ch })
	return func() {
		if b := pool.Get().(*buffer); b.ch != nil {
			close(b.ch)
		}
	}
}

// What runtime/cgo does for values that C code knows by number.
var (
	handles    sync.Map
	lastHandle atomic.Uintptr
)

//go:noinline
func byHandle() func() {
	ch := make(chan int)
	h := lastHandle.Add(1)
	handles.Store(h, ch)
	healthy("waits on a channel in a handle", func() { <-ch })
	return func() {
		if v, ok := handles.Load(h); ok {
			close(v.(chan int))
		}
	}
}

var one20 = make(chan int)

type holder20 struct{ n int }

func (*holder20) shut20() { close(one20) }

//go:noinline
func byMethodValue() func() {
	f := (&holder20{1}).shut20
	time.AfterFunc(time.Hour, f)
	healthy("waits", func() { <-one20 })
	return nil
}

var one21 = make(chan int)

//go:noinline
func byLoop() func() {
	healthy("starts another one later", func() {
		for {
			time.Sleep(time.Hour)
			go func() { one21 <- 1 }()
		}
	})
	healthy("waits", func() {
		for range one21 {
		}
	})
	return nil
}
