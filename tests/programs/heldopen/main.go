// Command heldopen is a whole program that is deadlocked, main included, and that the runtime still
// takes for alive, since one goroutine waits for something from outside; or a server that is idle, which
// looks much like it and is well.
//
//	heldopen signal   somebody waits for a signal
//	heldopen ticker   somebody goes by a ticker
//	heldopen poller   somebody accepts connections
//	heldopen server   well: main serves HTTP, a worker waits for jobs
//	heldopen accept   well: main accepts connections, their handlers are workers that wait
//	heldopen signals  well: main waits for a signal to end, a worker for jobs
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"gotrace.test/programs/internal/program"
)

// jobs is what workers wait for.
var jobs = make(chan int)

func main() {
	flag.Parse()
	keepers := map[string]func(){"signal": awaitSignal, "ticker": tick, "poller": accept}
	if keeper := keepers[flag.Arg(0)]; keeper != nil {
		go keeper()
		deadlock()
	}
	well := map[string]func(){"server": serve, "accept": acceptAll, "signals": untilSignal}
	be := well[flag.Arg(0)]
	if be == nil {
		fmt.Fprintln(os.Stderr, "say what keeps it open, or how it is well")
		os.Exit(2)
	}
	for i := 0; i < 3; i++ {
		go work()
	}
	be()
}

// deadlock lets two goroutines wait for each other, and waits for both.
func deadlock() {
	first, second := make(chan int), make(chan int)
	var done sync.WaitGroup
	done.Add(2)
	await := func(other, own chan int) {
		own <- <-other
		done.Done()
	}
	go await(first, second)
	go await(second, first)
	go ready()
	done.Wait()
}

// ready says so once both wait.
func ready() {
	watcher := program.NewWatcher(1 << 16)
	for watcher.Waiting("chan receive", "main.deadlock.func1(") != 2 {
		time.Sleep(time.Millisecond)
	}
	program.Ready(nil)
}

func awaitSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	<-signals
}

func tick() {
	for range time.Tick(50 * time.Millisecond) {
	}
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	return listener
}

func accept() {
	listener := listen()
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		_ = connection.Close()
	}
}

func work() {
	for range jobs {
	}
}

func serve() {
	listener := listen()
	http.HandleFunc("/job", func(http.ResponseWriter, *http.Request) { jobs <- 1 })
	program.Ready(map[string]any{"http": listener.Addr().String()})
	_ = http.Serve(listener, nil)
}

func acceptAll() {
	listener := listen()
	program.Ready(nil)
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		jobs <- 1
		_ = connection.Close()
	}
}

func untilSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	program.Ready(nil)
	<-signals
	close(jobs)
}
