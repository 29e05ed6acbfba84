//go:build go1.24

package main

import (
	"iter"
	"runtime"
	"weak"
)

var pulls []func() (int, bool)

//go:noinline
func more() {
	cleaned := make(chan int)
	owner := &account{owner: "cleanup"}
	runtime.AddCleanup(owner, func(ch chan int) { close(ch) }, cleaned)
	healthy("waits for a cleanup", func() {
		<-cleaned
		runtime.KeepAlive(owner)
	})

	pulled := make(chan int)
	next, _ := iter.Pull(func(yield func(int) bool) {
		yield(1)
		close(pulled)
	})
	next()
	pulls = append(pulls, next)
	healthy("waits for a coroutine", func() { <-pulled })

	weakly := &struct {
		ch chan int
		a  *account
	}{ch: make(chan int)}
	pointers = append(pointers, weak.Make(weakly))
	leaked("known by a weak pointer alone", func() {
		<-weakly.ch
	})
}

var pointers []weak.Pointer[struct {
	ch chan int
	a  *account
}]
