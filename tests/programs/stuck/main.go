// Command stuck is a paper that will not appear: its editor, reviewer and printer each wait for the
// next one to speak, which is a cycle of three channels; and its bank holds the ledger while it waits
// for a clerk to take a receipt, who first wants the ledger, which is a mix of a lock and a channel.
//
// The reader waits for the news that a goroutine brings in an hour, so it is well.
//
// READY tells which goroutine is who. The program ends when its input does, or after -for.
package main

import (
	"flag"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"gotrace.test/programs/internal/program"
)

// cast is who plays what; ids alone, since a reference would keep a channel alive.
type cast struct {
	mu     sync.Mutex
	goids  map[string]any
	seated sync.WaitGroup
}

// play starts a goroutine and waits until its id is known.
func (c *cast) play(role string, part func()) {
	c.seated.Add(1)
	go func() {
		c.mu.Lock()
		c.goids[role] = program.Goid()
		c.mu.Unlock()
		c.seated.Done()
		part()
	}()
}

func main() {
	lifetime := flag.Duration("for", 0, "end after so long, in place of at the end of the input")
	healthy := flag.Bool("healthy", false, "have nobody stuck")
	code := flag.Int("exit", 0, "the exit code")
	flag.Parse()

	c := &cast{goids: map[string]any{}}
	if !*healthy {
		publish(c)
		bank(c)
	}
	news := make(chan string)
	c.play("reader", func() { read(news) })
	c.play("courier", func() { bring(news) })
	c.seated.Wait()

	watcher := program.NewWatcher(1 << 16)
	await := func(state, call string) {
		n := 1
		if *healthy && call != "main.read(" {
			n = 0
		}
		watcher.AwaitWaiting(n, state, call)
	}
	await("chan receive", "main.edit(")
	await("chan receive", "main.review(")
	await("chan receive", "main.print(")
	await("chan send", "main.pay(")
	await("chan receive", "main.read(")
	// The state's name differs between Go versions.
	for !*healthy && watcher.Waiting("sync.Mutex.Lock", "main.clerk(")+watcher.Waiting("semacquire", "main.clerk(") != 1 {
		runtime.Gosched()
	}
	program.Ready(c.goids)

	if *lifetime > 0 {
		time.Sleep(*lifetime)
	} else {
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
	os.Exit(*code)
}

// publish starts three who each wait for the next one.
func publish(c *cast) {
	text, verdict, proof := make(chan string), make(chan string), make(chan string)
	c.play("editor", func() { edit(proof, text) })
	c.play("reviewer", func() { review(text, verdict) })
	c.play("printer", func() { print(verdict, proof) })
}

//go:noinline
func edit(proof <-chan string, text chan<- string) {
	seen := <-proof
	text <- "text after " + seen
}

//go:noinline
func review(text <-chan string, verdict chan<- string) {
	read := <-text
	verdict <- "verdict on " + read
}

//go:noinline
func print(verdict <-chan string, proof chan<- string) {
	said := <-verdict
	proof <- "proof after " + said
}

// ledger is an account and its lock.
type ledger struct {
	mu      sync.Mutex
	balance int
}

// bank starts one who holds the lock and sends, and one who wants the lock and would then receive.
func bank(c *cast) {
	book, receipts := &ledger{}, make(chan int)
	book.mu.Lock()
	c.play("bank", func() { pay(book, receipts) })
	c.play("clerk", func() { clerk(book, receipts) })
}

//go:noinline
func pay(book *ledger, receipts chan<- int) {
	book.balance++
	receipts <- book.balance
	book.mu.Unlock()
}

//go:noinline
func clerk(book *ledger, receipts <-chan int) {
	book.mu.Lock()
	defer book.mu.Unlock()
	book.balance -= <-receipts
}

//go:noinline
func read(news <-chan string) {
	for range news {
	}
}

//go:noinline
func bring(news chan<- string) {
	time.Sleep(time.Hour)
	news <- "at last"
}
