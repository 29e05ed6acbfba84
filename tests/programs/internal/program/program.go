// Package program is what the traced programs share: how they say that they are ready, how they
// tell their truth, and how they look at their own goroutines.
package program

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Ready prints the one line that a test waits for: the word READY and an object with the pid and
// the given facts.
func Ready(facts map[string]any) {
	object := map[string]any{"pid": os.Getpid(), "go_version": runtime.Version()}
	for name, fact := range facts {
		object[name] = fact
	}
	fmt.Printf("READY %s\n", line(object))
}

// Tell prints a value as one line of JSON.
func Tell(truth any) {
	fmt.Println(line(truth))
}

func line(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Address is the address of a channel as text. The text is no pointer, so keeping it keeps nobody
// from finding out that a channel is unreachable.
func Address(channel any) string {
	return fmt.Sprintf("%p", channel)
}

// Goid is the id of the calling goroutine.
func Goid() uint64 {
	var buffer [64]byte
	header := buffer[:runtime.Stack(buffer[:], false)]
	goid, _, ok := parseHeader(header)
	if !ok {
		panic(fmt.Sprintf("no goroutine header in %q", header))
	}
	return goid
}

// Watcher looks at all goroutines of the program with one buffer, so that looking often allocates
// nothing.
type Watcher struct {
	buffer []byte
}

// NewWatcher makes a watcher with room for the given number of bytes of stack traces.
func NewWatcher(size int) *Watcher {
	return &Watcher{buffer: make([]byte, size)}
}

// Waiting counts the goroutines that the runtime shows in the given state and whose stack has
// the given text in it, such as `main.worker(`.
func (w *Watcher) Waiting(state, call string) int {
	length := runtime.Stack(w.buffer, true)
	for length == len(w.buffer) {
		w.buffer = make([]byte, 2*len(w.buffer))
		length = runtime.Stack(w.buffer, true)
	}
	rest := w.buffer[:length]
	found := 0
	for len(rest) > 0 {
		stack := rest
		if end := bytes.Index(rest, []byte("\n\n")); end >= 0 {
			stack, rest = rest[:end], rest[end+2:]
		} else {
			rest = nil
		}
		_, shown, ok := parseHeader(stack)
		if ok && string(shown) == state && bytes.Contains(stack, []byte(call)) {
			found++
		}
	}
	return found
}

// Goroutine is one as the runtime shows it.
type Goroutine struct {
	Goid uint64 `json:"goid"`
	// `running`, `syscall`, or what it waits for.
	State string `json:"state"`
	// Its innermost function of the wanted ones, and the line in it.
	Function string `json:"function"`
	Line     int    `json:"line"`
}

// Others are all goroutines but the calling one, with their innermost functions that begin with the
// given text, in the order of the runtime.
func Others(prefix string) []Goroutine {
	own := Goid()
	buffer := make([]byte, 1<<20)
	length := runtime.Stack(buffer, true)
	for length == len(buffer) {
		buffer = make([]byte, 2*len(buffer))
		length = runtime.Stack(buffer, true)
	}
	var all []Goroutine
	for _, stack := range bytes.Split(bytes.TrimSpace(buffer[:length]), []byte("\n\n")) {
		goid, state, ok := parseHeader(stack)
		if !ok {
			panic(fmt.Sprintf("no goroutine header in %q", stack))
		}
		if goid == own {
			continue
		}
		goroutine := Goroutine{Goid: goid, State: string(state)}
		// After the header, two lines a call: the function and its place.
		lines := strings.Split(string(stack), "\n")
		for i := 1; i+1 < len(lines); i += 2 {
			if !strings.HasPrefix(lines[i], prefix) {
				continue
			}
			goroutine.Function = lines[i][:strings.LastIndexByte(lines[i], '(')]
			// \t/path/main.go:12 +0x34
			place := strings.Fields(lines[i+1])[0]
			line, err := strconv.Atoi(place[strings.LastIndexByte(place, ':')+1:])
			if err != nil {
				panic(fmt.Sprintf("no line in %q", lines[i+1]))
			}
			goroutine.Line = line
			break
		}
		all = append(all, goroutine)
	}
	return all
}

// AwaitWaiting returns as soon as exactly n goroutines wait so. It yields the processor and never
// parks.
func (w *Watcher) AwaitWaiting(n int, state, call string) {
	for w.Waiting(state, call) != n {
		runtime.Gosched()
	}
}

// parseHeader takes `goroutine 7 [chan receive, 2 minutes]:` apart.
func parseHeader(stack []byte) (goid uint64, state []byte, ok bool) {
	rest, found := cutPrefix(stack, []byte("goroutine "))
	if !found {
		return 0, nil, false
	}
	number, rest, found := bytes.Cut(rest, []byte(" "))
	if !found {
		return 0, nil, false
	}
	goid, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil {
		return 0, nil, false
	}
	_, rest, found = bytes.Cut(rest, []byte("["))
	if !found {
		return 0, nil, false
	}
	end := bytes.IndexAny(rest, ",]")
	if end < 0 {
		return 0, nil, false
	}
	return goid, rest[:end], true
}

// cutPrefix is bytes.CutPrefix of Go 1.20.
func cutPrefix(text, prefix []byte) ([]byte, bool) {
	if !bytes.HasPrefix(text, prefix) {
		return text, false
	}
	return text[len(prefix):], true
}
