package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Bugs in message passing: the goroutine at the other end is gone, or never was.

func init() {
	add("channel", "forgotten-sender", forgottenSender)
	add("channel", "first-answer-wins", firstAnswerWins)
	add("channel", "range-over-unclosed", rangeOverUnclosed)
	add("channel", "buffer-too-small", bufferTooSmall)
	add("channel", "early-return-on-error", earlyReturn)
	add("channel", "double-send", doubleSend)
	add("channel", "nil-channel", nilChannel)
	add("channel", "select-without-cases", selectWithoutCases)
	add("channel", "select-orphaned", selectOrphaned)
	add("channel", "abandoned-pipeline", abandonedPipeline)
	add("channel", "ring-of-two", ringOfTwo)
	add("channel", "ring-of-three", ringOfThree)
	add("channel", "lost-token", lostToken)
	add("channel", "lost-reply", lostReply)
	add("channel", "element-leads-to-channel", elementLeadsToChannel)
	add("channel", "large-element-leads-to-channel", largeElement)
	add("channel", "selected-element-leads-to-channel", selectedElement)
	add("channel", "locked-thread", lockedThread)
	add("channel", "main-waits-for-worker", mainWaitsForWorker)
	add("library", "context-never-cancelled", contextNeverCancelled)
	add("library", "pipe-never-closed", pipeNeverClosed)
	add("library", "signal-stopped", signalStopped)
	add("library", "ticker-stopped", tickerStopped)
	add("library", "timer-stopped", timerStopped)
	add("library", "timer-received-twice", timerReceivedTwice)
}

//go:noinline
func forgottenSender() func() {
	// The caller gave up (a timeout) before the answer came.
	answer := make(chan int)
	stuck("answers", func() { answer <- 42 })
	return nil
}

//go:noinline
func firstAnswerWins() func() {
	answers := make(chan int)
	for i := 0; i < 3; i++ {
		i := i
		stuckUnseen(byElement, "replica", func() { answers <- i; answers <- i })
	}
	<-answers
	return nil
}

//go:noinline
func rangeOverUnclosed() func() {
	jobs := make(chan int)
	for i := 0; i < 4; i++ {
		stuck("worker", func() {
			for range jobs {
			}
		})
	}
	for i := 0; i < 8; i++ {
		jobs <- i
	}
	return nil
}

//go:noinline
func bufferTooSmall() func() {
	events := make(chan *int, 2)
	stuck("producer", func() {
		for {
			events <- new(int)
		}
	})
	<-events
	return nil
}

//go:noinline
func earlyReturn() func() {
	consume := func(list ...chan error) error {
		for _, ch := range list {
			if err := <-ch; err != nil {
				return err
			}
		}
		return nil
	}
	first, second, third := make(chan error, 1), make(chan error), make(chan error)
	first <- errors.New("x")
	stuck("second", func() { second <- nil })
	stuck("third", func() { third <- nil })
	_ = consume(first, second, third)
	return nil
}

//go:noinline
func doubleSend() func() {
	done := make(chan error)
	stuck("sends twice", func() {
		err := errors.New("failed")
		if err != nil {
			done <- err // and no return
		}
		done <- nil
	})
	<-done
	return nil
}

//go:noinline
func nilChannel() func() {
	var never chan int
	stuck("receives", func() { <-never })
	stuck("sends", func() { never <- 1 })
	stuck("ranges", func() {
		for range never {
		}
	})
	return nil
}

//go:noinline
func selectWithoutCases() func() {
	stuck("parked", func() { select {} })
	return nil
}

//go:noinline
func selectOrphaned() func() {
	results, quit := make(chan int), make(chan struct{})
	stuck("offers a result", func() {
		select {
		case results <- 1:
		case <-quit:
		}
	})
	more := make(chan string)
	stuck("waits for one of two", func() {
		select {
		case <-more:
		case <-quit:
		}
	})
	return nil
}

//go:noinline
func abandonedPipeline() func() {
	numbers, squares := make(chan int), make(chan int)
	stuck("generator", func() {
		for i := 0; ; i++ {
			numbers <- i
		}
	})
	stuck("squarer", func() {
		for n := range numbers {
			squares <- n * n
		}
	})
	for i := 0; i < 3; i++ {
		<-squares
	}
	return nil
}

//go:noinline
func ringOfTwo() func() {
	a, b := make(chan int), make(chan int)
	stuck("one", func() { a <- <-b })
	stuck("two", func() { b <- <-a })
	return nil
}

//go:noinline
func ringOfThree() func() {
	c, d, e := make(chan int), make(chan int), make(chan int)
	stuck("one", func() { c <- <-d })
	stuck("two", func() { d <- <-e })
	stuck("three", func() { e <- <-c })
	return nil
}

//go:noinline
func lostToken() func() {
	// A buffered channel as a semaphore, and one who does not give back.
	tokens := make(chan struct{}, 1)
	tokens <- struct{}{}
	for i := 0; i < 2; i++ {
		stuck("wants a token", func() {
			tokens <- struct{}{}
			<-tokens
		})
	}
	return nil
}

type request struct {
	payload int
	reply   chan int
}

//go:noinline
func lostReply() func() {
	requests := make(chan *request)
	stuck("client", func() {
		r := &request{payload: 1, reply: make(chan int)}
		requests <- r
		<-r.reply
	})
	<-requests // and forgets it
	return nil
}

type envelope struct {
	to  chan *envelope
	pad [100]int
}

//go:noinline
func elementLeadsToChannel() func() {
	e := &envelope{to: make(chan *envelope)}
	stuckUnseen(byElement, "sends what leads to the channel", func() { e.to <- e })
	i := &struct{ ch chan any }{make(chan any)}
	stuck("the same as an interface", func() { i.ch <- i })
	return nil
}

type parcel struct {
	to  chan parcel
	pad [100]int
}

//go:noinline
func largeElement() func() {
	p := &parcel{to: make(chan parcel)}
	stuckUnseen(byElement, "sends a large value out of the heap", func() {
		p.pad[1] = 1
		p.to <- *p
		p.pad[2] = 2
	})
	return nil
}

//go:noinline
func selectedElement() func() {
	e, quit := &envelope{to: make(chan *envelope)}, make(chan int)
	stuck("sends it in a select", func() {
		select {
		case e.to <- e:
		case <-quit:
		}
	})
	return nil
}

//go:noinline
func lockedThread() func() {
	ch := make(chan int)
	stuck("waits on a thread of its own", func() {
		runtime.LockOSThread()
		<-ch
	})
	return nil
}

//go:noinline
func mainWaitsForWorker() func() {
	var group sync.WaitGroup
	group.Add(1)
	results := make(chan int)
	stuck("worker", func() {
		defer group.Done()
		results <- 1
	})
	wait := &group
	mainStuck(func() {
		wait.Wait()
		<-results
	})
	return nil
}

//go:noinline
func contextNeverCancelled() func() {
	ctx, cancel := context.WithCancel(context.Background())
	child, childCancel := context.WithCancel(context.WithValue(ctx, "key", 1))
	stuck("waits for the parent", func() {
		<-ctx.Done()
		cancel()
	})
	stuck("waits for the child", func() {
		<-child.Done()
		childCancel()
	})
	return nil
}

//go:noinline
func pipeNeverClosed() func() {
	r, w := io.Pipe()
	stuck("reads", func() { io.Copy(io.Discard, r) })
	w.Write([]byte("all there is"))
	return nil
}

//go:noinline
func signalStopped() func() {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGUSR2)
	signal.Stop(ch)
	stuck("waits for a signal that no longer comes", func() { <-ch })
	return nil
}

//go:noinline
func tickerStopped() func() {
	ticker := time.NewTicker(time.Hour)
	ticker.Stop()
	c := ticker.C
	stuck("ranges over a stopped ticker", func() {
		for range c {
		}
	})
	return nil
}

//go:noinline
func timerStopped() func() {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	c := timer.C
	stuck("waits for a stopped timer", func() { <-c })
	return nil
}

//go:noinline
func timerReceivedTwice() func() {
	c := time.NewTimer(time.Nanosecond).C
	stuck("receives from a timer that has fired", func() { <-c; <-c })
	return nil
}
