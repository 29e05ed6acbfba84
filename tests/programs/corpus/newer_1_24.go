//go:build go1.24

package main

import (
	"iter"
	"runtime"
	"weak"
)

func init() {
	add("runtime", "weak-pointer-alone", weakPointerAlone)
	add("global idle", "weak-pointer-and-strong", weakPointerAndStrong)
	add("global idle", "by-cleanup", byCleanup)
	add("global idle", "by-coroutine", byCoroutine)
	add("holder", "by-queued-cleanup", byQueuedCleanup)
}

type session struct {
	ch chan int
	p  *int
}

var weakly []weak.Pointer[session]

//go:noinline
func weakPointerAlone() func() {
	s := &session{ch: make(chan int)}
	weakly = append(weakly, weak.Make(s))
	stuck("known by a weak pointer alone", func() {
		<-s.ch
		s.p = nil
	})
	return nil
}

//go:noinline
func weakPointerAndStrong() func() {
	s := &session{ch: make(chan int)}
	weakly = append(weakly, weak.Make(s))
	healthy("waits", func() { <-s.ch })
	return func() {
		if s := weakly[0].Value(); s != nil {
			close(s.ch)
		}
		runtime.KeepAlive(s)
	}
}

var cleanedGlobal = make(chan int)

//go:noinline
func byCleanup() func() {
	cleaned := make(chan int)
	owner := &session{}
	runtime.AddCleanup(owner, func(ch chan int) { close(ch) }, cleaned)
	runtime.AddCleanup(owner, func(int) { close(cleanedGlobal) }, 1)
	healthy("waits for a cleanup", func() { <-cleaned })
	healthy("waits for one that uses a global", func() { <-cleanedGlobal })
	return func() { runtime.KeepAlive(owner) }
}

func byQueuedCleanup() func() { return behindOneThatBlocks(clean) }

//go:noinline
func clean(f func()) {
	runtime.AddCleanup(&session{p: new(int)}, func(f func()) { f() }, f)
}

var pulled = make(chan int)
var pulls []func() (int, bool)

//go:noinline
func byCoroutine() func() {
	next, _ := iter.Pull(func(yield func(int) bool) {
		yield(1)
		close(pulled)
	})
	next()
	pulls = append(pulls, next)
	healthy("waits for a coroutine", func() { <-pulled })
	return func() { pulls[0]() }
}
