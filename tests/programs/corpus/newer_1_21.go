//go:build go1.21

package main

import (
	"context"
	"sync"
)

func init() {
	add("global idle", "by-context-after-func", byContextAfterFunc)
	add("wait", "once-func-in-itself", onceFuncInItself)
}

var afterCancel = make(chan int)

//go:noinline
func byContextAfterFunc() func() {
	ctx, cancel := context.WithCancel(context.Background())
	context.AfterFunc(ctx, func() { close(afterCancel) })
	healthy("waits", func() { <-afterCancel })
	return cancel
}

//go:noinline
func onceFuncInItself() func() {
	holder := &struct{ f func() }{}
	holder.f = sync.OnceFunc(func() { holder.f() })
	stuck("does once what does it", func() { holder.f() })
	return nil
}
