// Command orders takes orders faster than they are packed: a queue of four is full, two more orders wait at
// its door, and nobody takes one out. Meanwhile two clerks wait for each other for ever, and a counter
// counts on.
//
// READY tells the queue's address and who is who. For each line of its input the program says what the
// counter has come to; it ends when its input does.
package main

import (
	"bufio"
	"flag"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"gotrace.test/programs/internal/program"
)

type order struct {
	ID    int
	Item  string
	Notes []string
}

var counter atomic.Int64

func main() {
	idle := flag.Int("idle", 0, "further goroutines, each waiting on a channel of its own")
	flag.Parse()

	queue := make(chan order, 4)
	for id := 1; id <= cap(queue); id++ {
		queue <- order{id, "book", []string{"gift", "fragile"}[:id%3]}
	}
	goids := make(chan uint64)
	var customers []uint64
	watcher := program.NewWatcher(16 << 20)
	for id := 5; id <= 6; id++ {
		go submit(queue, order{id, "pen", nil}, goids)
		customers = append(customers, <-goids)
		// One after the other, so that it is known who comes first.
		watcher.AwaitWaiting(id-4, "chan send", "main.submit(")
	}
	clerks := quarrel(goids)
	watcher.AwaitWaiting(2, "chan receive", "main.clerk(")
	for i := 0; i < *idle; i++ {
		go wait(make(chan int))
	}
	watcher.AwaitWaiting(*idle, "chan receive", "main.wait(")
	go count()

	program.Ready(map[string]any{
		"queue": program.Address(queue), "customers": customers, "clerks": clerks,
	})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		program.Tell(counter.Load())
	}
	runtime.KeepAlive(queue)
}

//go:noinline
func submit(queue chan<- order, o order, goid chan<- uint64) {
	goid <- program.Goid()
	queue <- o
}

// quarrel leaves two clerks each of whom wants the other's stamp first.
func quarrel(goids chan uint64) []uint64 {
	left, right := make(chan string), make(chan string)
	go clerk(left, right, goids)
	first := <-goids
	go clerk(right, left, goids)
	return []uint64{first, <-goids}
}

//go:noinline
func clerk(theirs <-chan string, own chan<- string, goid chan<- uint64) {
	goid <- program.Goid()
	stamp := <-theirs
	own <- stamp
}

//go:noinline
func wait(never chan int) {
	<-never
}

func count() {
	for range time.Tick(time.Millisecond) {
		counter.Add(1)
	}
}
