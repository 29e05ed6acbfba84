// Known bugs and what only looks like one, a process for each: `corpus CASE`. The patterns are those of
// published studies of concurrency bugs in Go (Tu et al., ASPLOS 2019; Saioc et al., Golf, ASPLOS 2025),
// the code is our own. `corpus -list` prints the cases.
//
// A case says of every goroutine that it starts whether it can ever run again, and is ready when all of
// them wait: no goroutine that can run was left in one look at all of them, and what could still run
// (timers of an hour, the network) is what healthy ones wait for. So what it says is exact.
//
// Commands on its input: "profile" prints the goids of the runtime's own goroutine leak profile, null
// where there is none; the end of the input ends the program.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"

	"gotrace.test/programs/internal/program"
)

// one is a case. What its function returns, if anything, the main goroutine does at the end: until then
// it can still do it.
type one struct {
	name  string
	class string
	run   func() func()
}

var cases []one

// add registers a case by the class of bug that it is of.
func add(class, name string, run func() func()) {
	cases = append(cases, one{name, class, run})
}

// role is what a case says of one of its goroutines.
type role struct {
	goid  atomic.Uint64
	name  string
	stuck bool
	// Why the runtime's own profile cannot see that it is stuck, if so.
	blind blindness
	// It runs all the time.
	busy bool
}

type blindness string

const (
	// What it waits on is part of a global variable, or one leads to it.
	byGlobal blindness = "global"
	// It waits for a mutex that shares a block of the allocator with something that lives.
	byBlock blindness = "block"
	// It is the main goroutine, which waits for ever on purpose: so it is called healthy here.
	onPurpose blindness = "on purpose"
	// It sends a value that lies in, or leads to, an object that leads to the channel.
	byElement blindness = "element"
)

var roles []*role

// stuck starts a goroutine that will never run again.
func stuck(name string, f func()) { start(&role{name: name, stuck: true}, f) }

// stuckUnseen starts one that the runtime's own profile cannot see.
func stuckUnseen(why blindness, name string, f func()) {
	start(&role{name: name, stuck: true, blind: why}, f)
}

// healthy starts a goroutine that something can still wake.
func healthy(name string, f func()) { start(&role{name: name}, f) }

// busy starts one that never waits.
func busy(name string, f func()) { start(&role{name: name, busy: true}, f) }

func start(r *role, f func()) {
	roles = append(roles, r)
	go begin(r, f)
}

//go:noinline
func begin(r *role, f func()) {
	r.goid.Store(program.Goid())
	f()
}

// parks is what the main goroutine does instead of reading commands, which another one does then.
var parks func()

// mainStuck lets the main goroutine do what never ends.
func mainStuck(f func()) {
	roles = append(roles, &role{name: "main", stuck: true})
	parks = f
}

// mainIdle lets the main goroutine wait on purpose, as servers do.
func mainIdle(f func()) {
	roles = append(roles, &role{name: "main", blind: onPurpose})
	parks = f
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: corpus CASE|-list")
		os.Exit(2)
	}
	if os.Args[1] == "-list" {
		list()
		return
	}
	class, atEnd := begun(os.Args[1])
	if parks == nil {
		obey(os.Args[1], class)
		if atEnd != nil {
			atEnd()
		}
		return
	}
	park := parks
	parks = nil
	roles[len(roles)-1].goid.Store(program.Goid())
	go func(name string) {
		obey(name, class)
		os.Exit(0)
	}(os.Args[1])
	park()
}

// begun runs a case. Nothing leads to the others any more.
//
//go:noinline
func begun(name string) (class string, atEnd func()) {
	for _, c := range cases {
		if c.name == name {
			cases = nil
			return c.class, c.run()
		}
	}
	fmt.Fprintf(os.Stderr, "there is no case %q\n", name)
	os.Exit(2)
	return "", nil
}

func list() {
	type line struct {
		Name  string `json:"name"`
		Class string `json:"class"`
	}
	for _, c := range cases {
		program.Tell(line{c.name, c.class})
	}
}

// obey says ready and does what the input says, to its end.
//
//go:noinline
func obey(name, class string) {
	settle()
	type goroutine struct {
		Goid  uint64    `json:"goid"`
		Role  string    `json:"role"`
		Stuck bool      `json:"stuck"`
		Blind blindness `json:"blind"`
	}
	var list []goroutine
	for _, r := range roles {
		list = append(list, goroutine{r.goid.Load(), r.name, r.stuck, r.blind})
	}
	program.Ready(map[string]any{"case": name, "class": class, "goroutines": list})
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		if input.Text() == "profile" {
			program.Tell(profile())
		}
	}
}

// settle waits until no goroutine can run that will not do so all the time.
func settle() {
	for !settled() {
		runtime.Gosched()
	}
}

func settled() bool {
	known := map[uint64]*role{}
	for _, r := range roles {
		known[r.goid.Load()] = r
	}
	if known[0] != nil {
		return false
	}
	for _, other := range program.Others("main.") {
		r := known[other.Goid]
		switch state := strings.TrimSuffix(other.State, " (scan)"); {
		case r != nil && r.busy:
		case state == "running" || state == "runnable" || state == "preempted" || state == "copystack":
			return false
		case r != nil && state == "syscall":
			return false
		}
	}
	return true
}

// profile is the runtime's own opinion; nil where it has none.
func profile() []uint64 {
	p := pprof.Lookup("goroutineleak")
	if p == nil {
		return nil
	}
	var text strings.Builder
	if err := p.WriteTo(&text, 2); err != nil {
		panic(err)
	}
	list := []uint64{}
	for _, header := range strings.Split(text.String(), "\n") {
		rest := strings.TrimPrefix(header, "goroutine ")
		end := strings.IndexByte(rest, ' ')
		if rest == header || end < 0 || !strings.Contains(header, "leaked") {
			continue
		}
		goid, err := strconv.ParseUint(rest[:end], 10, 64)
		if err != nil {
			panic(err)
		}
		list = append(list, goid)
	}
	return list
}
