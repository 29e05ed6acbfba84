// Command holders keeps channels in every way in which a program can have them and not wait on them:
// in a variable of a function, in a struct that one refers to, in a global, in a map. It says where
// each is, then idles until its standard input ends.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"gotrace.test/programs/internal/program"
)

type job struct {
	ID   int
	Name string
}

type server struct {
	name string
	jobs chan *job
}

var (
	global   = make(chan string, 4)
	registry = map[string]chan [2]int64{}
	empty    = make(chan struct{})
)

//go:noinline
func keepsVariable(said chan<- string) {
	local := make(chan int, 8)
	local <- 7
	said <- fmt.Sprintf("%p", local)
	for {
		time.Sleep(time.Hour)
		local <- 1
	}
}

//go:noinline
func (s *server) keepsStruct(said chan<- string) {
	said <- fmt.Sprintf("%p", s.jobs)
	for {
		time.Sleep(time.Hour)
		s.jobs <- &job{}
	}
}

func main() {
	said := make(chan string)
	channels := map[string]string{}
	go keepsVariable(said)
	channels["variable"] = <-said
	s := &server{name: "api", jobs: make(chan *job, 2)}
	s.jobs <- &job{1, "first"}
	go s.keepsStruct(said)
	channels["struct"] = <-said
	global <- "hello"
	channels["global"] = fmt.Sprintf("%p", global)
	registry["a"] = make(chan [2]int64, 3)
	registry["a"] <- [2]int64{1, 2}
	channels["map"] = fmt.Sprintf("%p", registry["a"])
	channels["empty"] = fmt.Sprintf("%p", empty)
	closed := make(chan error)
	close(closed)
	channels["closed"] = fmt.Sprintf("%p", closed)
	ticker := time.NewTicker(time.Hour)
	channels["ticker"] = fmt.Sprintf("%p", ticker.C)

	program.NewWatcher(1<<20).AwaitWaiting(2, "sleep", "main.")
	program.Ready(map[string]any{"channels": channels})
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(closed)
	runtime.KeepAlive(ticker)
}
