package main

import (
	"reflect"
	"sort"
	"strings"
	"sync"
	"time"
)

// Channels that nothing but a frame of a sleeping goroutine refers to, each in another way. The
// compiler's stack maps must tell of every one.

type box struct {
	pad [3]int
	ch  chan int
}

type closer interface{ sleepAndClose() }

func (b box) sleepAndClose()     { sleep(); close(b.ch) }
func (b *box) sleepAndClosePtr() { sleep(); close(b.ch) }
func sleep()                     { time.Sleep(time.Hour) }
func sleepWith(b *box)           { sleep(); close(b.ch) }
func sleepAll(list ...chan int)  { sleep(); closeAll(list) }
func closeAll(list []chan int) {
	for _, ch := range list {
		close(ch)
	}
}
func named() (ch chan int, _ error) { ch = make(chan int); return }

//go:noinline
func deeper(n int, ch chan int, f func(chan int)) {
	var frame [64]int
	frame[n%64] = n
	if n == 0 {
		f(ch)
	} else {
		deeper(n-1, ch, f)
	}
	keep(frame[:])
}

//go:noinline
func keep(list []int) int { return len(list) }

//go:noinline
func manyArguments(a, b, c, d, e, f, g, h, i, j, k int, ch chan int, s string, l []chan int) int {
	sleep()
	close(ch)
	return a + b + c + d + e + f + g + h + i + j + k + len(s) + len(l)
}

func generic[T any](value T, f func(T)) {
	sleep()
	f(value)
}

//go:noinline
func healthyStacks() {
	shapes := map[string]func(ch chan int){
		"local":             func(ch chan int) { sleep(); close(ch) },
		"deferred close":    func(ch chan int) { defer close(ch); sleep() },
		"deferred function": func(ch chan int) { defer func() { close(ch) }(); sleep() },
		"deferred in a condition": func(ch chan int) {
			if ch != nil {
				defer func() { close(ch) }()
			}
			sleep()
		},
		"recovered": func(ch chan int) {
			defer func() {
				recover()
				sleep()
				close(ch)
			}()
			var m map[string]int
			m["x"] = 1
		},
		"panicking": func(ch chan int) {
			defer func() {
				defer func() { recover(); close(ch) }()
				sleep()
			}()
			panic("x")
		},
		"struct by value":     func(ch chan int) { box{ch: ch}.sleepAndClose() },
		"pointer to a local":  func(ch chan int) { b := box{ch: ch}; b.sleepAndClosePtr() },
		"pointer passed down": func(ch chan int) { b := box{ch: ch}; sleepWith(&b) },
		"interface":           func(ch chan int) { var c closer = box{ch: ch}; c.sleepAndClose() },
		"method value":        func(ch chan int) { f := (&box{ch: ch}).sleepAndClosePtr; f() },
		"variadic":            func(ch chan int) { sleepAll(nil, ch) },
		"array": func(ch chan int) {
			var list [8]chan int
			list[5] = ch
			sleep()
			for _, ch := range list {
				if ch != nil {
					close(ch)
				}
			}
		},
		"slice of a local array": func(ch chan int) {
			var list [8]chan int
			list[7] = ch
			part := list[7:]
			sleep()
			closeAll(part)
		},
		"map": func(ch chan int) {
			m := map[string]chan int{"x": ch}
			sleep()
			close(m["x"])
		},
		"while ranging over a map": func(ch chan int) {
			for _, ch := range map[int]chan int{1: ch} {
				sleep()
				close(ch)
			}
		},
		"select": func(ch chan int) {
			var none chan int
			select {
			case <-time.After(time.Hour):
				close(ch)
			case none <- 1:
			}
		},
		"send in a select": func(ch chan int) {
			select {
			case ch <- 1:
			case <-time.After(time.Hour):
			}
		},
		"deep stack":     func(ch chan int) { deeper(500, ch, func(ch chan int) { sleep(); close(ch) }) },
		"many arguments": func(ch chan int) { manyArguments(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ch, "x", nil) },
		"generic":        func(ch chan int) { generic(ch, func(ch chan int) { close(ch) }) },
		"generic struct": func(ch chan int) { generic(box{ch: ch}, func(b box) { close(b.ch) }) },
		"reflect.Call": func(ch chan int) {
			reflect.ValueOf(func(b box, s string) { sleep(); close(b.ch) }).
				Call([]reflect.Value{reflect.ValueOf(box{ch: ch}), reflect.ValueOf("")})
		},
		"reflect.MakeFunc": func(ch chan int) {
			f := reflect.MakeFunc(reflect.TypeOf(func(chan int) {}), func(in []reflect.Value) []reflect.Value {
				sleep()
				in[0].Close()
				return nil
			}).Interface().(func(chan int))
			f(ch)
		},
		"reflect method": func(ch chan int) {
			f := reflect.ValueOf(box{ch: ch}).MethodByName("Exported").Interface().(func(int))
			f(1)
		},
		"sort": func(ch chan int) {
			sort.Slice([]int{2, 1}, func(i, j int) bool { sleep(); close(ch); return i < j })
		},
		"once":    func(ch chan int) { var once sync.Once; once.Do(func() { sleep(); close(ch) }) },
		"strings": func(ch chan int) { strings.Map(func(r rune) rune { sleep(); close(ch); return r }, "x") },
		"captured by reference": func(ch chan int) {
			var set chan int
			func() { set = ch }()
			ch = nil
			sleep()
			close(set)
		},
		"channel of channels": func(ch chan int) {
			list := make(chan chan int, 1)
			list <- ch
			sleep()
			close(<-list)
		},
		"holds it for a mutex": func(ch chan int) {
			var mu sync.Mutex
			mu.Lock()
			time.AfterFunc(time.Hour, mu.Unlock)
			mu.Lock()
			close(ch)
		},
		"waits for a timer's channel": func(ch chan int) {
			t := time.NewTimer(time.Hour)
			<-t.C
			close(ch)
		},
		"waits for a group that a timer ends": func(ch chan int) {
			var group sync.WaitGroup
			group.Add(1)
			time.AfterFunc(time.Hour, group.Done)
			group.Wait()
			close(ch)
		},
	}
	for name, hold := range shapes {
		ch := make(chan int)
		name, hold := name, hold
		healthy("holds: "+name, holder(hold, ch))
		healthy("waits for: "+name, func() { <-ch })
	}
	result, _ := named()
	go func(b box, s string) { sleep(); close(b.ch) }(box{ch: result}, "x")
	healthy("waits for: argument of a go statement", func() { <-result })
}

// Exported is found by reflection.
func (b box) Exported(int) { sleep(); close(b.ch) }

// holder makes a function that has the channel only until it calls hold.
func holder(hold func(chan int), ch chan int) func() {
	cell := []chan int{ch}
	return func() {
		ch := cell[0]
		cell[0] = nil
		hold(ch)
	}
}
