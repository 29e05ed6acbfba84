// Command truth blocks goroutines in many ways and says what it made: each goroutine but the main one
// with its state and its place as the runtime itself shows them, each channel with what is in it and
// who waits for it. Then it idles until its standard input ends, and checks that all of that is
// still so.
//
// With cgo, one of its goroutines is inside a C function.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"runtime"
	"sync"
	"time"

	"gotrace.test/programs/internal/program"
)

type order struct {
	ID   int
	Item string
	Tags []string
}

type channel struct {
	Address string `json:"address"`
	Type    string `json:"type"`
	Len     int    `json:"len"`
	Cap     int    `json:"cap"`
	// Oldest first.
	Values    []any `json:"values"`
	Senders   []any `json:"senders"`
	Receivers int   `json:"receivers"`
}

var (
	texts   = make(chan string, 2)
	orders  = make(chan order, 3)
	nested  = make(chan *order)
	anys    = make(chan any, 4)
	numbers = make(chan [2]int32)
	never   = make(chan struct{})
	nothing chan int

	held  sync.Mutex
	both  sync.RWMutex
	group sync.WaitGroup
	free  sync.Mutex
	cond  = sync.NewCond(&free)
)

//go:noinline
func sendText(text string) { texts <- text }

//go:noinline
func sendOrder(o order) { orders <- o }

//go:noinline
func receivePointer() { <-nested }

//go:noinline
func sendAny(value any) { anys <- value }

//go:noinline
func sendNumbers(pair [2]int32) { numbers <- pair }

//go:noinline
func waitForever() { <-never }

//go:noinline
func choose() {
	select {
	case texts <- "chosen":
	case o := <-nested:
		fmt.Println(o)
	case <-never:
	}
}

//go:noinline
func sleep() { time.Sleep(24 * time.Hour) }

//go:noinline
func lock() { held.Lock() }

//go:noinline
func readLock() { both.RLock() }

//go:noinline
func waitGroup() { group.Wait() }

//go:noinline
func waitCond() {
	free.Lock()
	cond.Wait()
}

//go:noinline
func accept(listener net.Listener) { _, _ = listener.Accept() }

//go:noinline
func receiveNil() { <-nothing }

//go:noinline
func block() { select {} }

// leak waits on a channel that nobody else knows.
//
//go:noinline
func leak() { <-make(chan error) }

// deep recurses with frames large enough to make the stack grow.
//
//go:noinline
func deep(n int) int {
	var block [1024]byte
	block[n] = byte(n)
	if n == 0 {
		<-never
	}
	return deep(n-1) + int(block[n])
}

// typed is a value in an interface whose type its text does not tell.
func typed(value any) any {
	return map[string]any{"$type": reflect.TypeOf(value).String(), "$value": value}
}

func describe(c any, values, senders []any, receivers int) channel {
	value := reflect.ValueOf(c)
	return channel{
		Address:   program.Address(c),
		Type:      value.Type().Elem().String(),
		Len:       value.Len(),
		Cap:       value.Cap(),
		Values:    values,
		Senders:   senders,
		Receivers: receivers,
	}
}

// must starts a goroutine and returns when it waits in the given function.
func must(watcher *program.Watcher, state, call string, body func()) {
	before := watcher.Waiting(state, call)
	go body()
	watcher.AwaitWaiting(before+1, state, call)
}

func main() {
	held.Lock()
	both.Lock()
	group.Add(1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	first, second := order{1, "tea", []string{"hot", "green"}}, order{2, "", nil}
	texts <- "one"
	texts <- "two"
	orders <- first
	orders <- second
	orders <- order{3, "cake", []string{}}
	anys <- 42
	anys <- "text"
	anys <- nil
	anys <- []float64{1.5, -2.5}

	watcher := program.NewWatcher(1 << 20)
	// One after the other, so that the order in each queue is known.
	must(watcher, "chan send", "main.sendText(", func() { sendText("three") })
	must(watcher, "chan send", "main.sendText(", func() { sendText("four") })
	must(watcher, "chan send", "main.sendOrder(", func() { sendOrder(order{4, "late", nil}) })
	must(watcher, "chan receive", "main.receivePointer(", receivePointer)
	must(watcher, "chan send", "main.sendAny(", func() { sendAny(map[string]int{"one": 1}) })
	must(watcher, "chan send", "main.sendNumbers(", func() { sendNumbers([2]int32{-1, 2}) })
	for i := 0; i < 3; i++ {
		must(watcher, "chan receive", "main.waitForever(", waitForever)
	}
	must(watcher, "select", "main.choose(", choose)
	must(watcher, "sleep", "main.sleep(", sleep)
	must(watcher, "IO wait", "main.accept(", func() { accept(listener) })
	must(watcher, "chan receive (nil chan)", "main.receiveNil(", receiveNil)
	must(watcher, "select (no cases)", "main.block(", block)
	for i := 0; i < 4; i++ {
		must(watcher, "chan receive", "main.leak(", leak)
	}
	must(watcher, "chan receive", "main.deep(0", func() { deep(40) })
	// What the runtime calls these waits depends on its version.
	goroutines := 19
	for _, body := range []func(){lock, readLock, waitGroup, waitCond} {
		go body()
		goroutines++
	}
	if startInC() {
		goroutines++
	}
	for runtime.NumGoroutine() != goroutines+1 || !settled() {
		runtime.Gosched()
	}

	// Nothing of how it came to this is left lying around.
	runtime.GC()

	channels := []channel{
		describe(texts, []any{"one", "two"}, []any{"three", "four", "chosen"}, 0),
		describe(orders, []any{first, second, order{3, "cake", []string{}}}, []any{order{4, "late", nil}}, 0),
		describe(nested, nil, nil, 2),
		describe(anys, []any{42, "text", nil, typed([]float64{1.5, -2.5})}, []any{typed(map[string]int{"one": 1})}, 0),
		describe(numbers, nil, []any{[2]int32{-1, 2}}, 0),
		describe(never, nil, nil, 5),
	}
	others := program.Others("main.")
	program.Ready(map[string]any{
		"main":       program.Goid(),
		"goroutines": others,
		"channels":   channels,
	})
	_, _ = io.Copy(io.Discard, os.Stdin)

	if again := program.Others("main."); !reflect.DeepEqual(others, again) {
		panic(fmt.Sprintf("was %v, is %v", others, again))
	}
	for _, text := range []string{"one", "two", "three", "four", "chosen"} {
		if got := <-texts; got != text {
			panic(fmt.Sprintf("sent %q, received %q", text, got))
		}
	}
	for id := 1; id <= 4; id++ {
		if got := <-orders; got.ID != id {
			panic(fmt.Sprintf("sent %d, received %v", id, got))
		}
	}
	nested <- &first
}

// settled says whether all goroutines but this one wait.
func settled() bool {
	buffer := make([]byte, 1<<20)
	buffer = buffer[:runtime.Stack(buffer, true)]
	return bytes.Count(buffer, []byte(" [running]:")) == 1 &&
		!bytes.Contains(buffer, []byte(" [runnable]:"))
}
