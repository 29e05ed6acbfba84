// Command service is an HTTP server whose answers are made by a pool of workers: each request goes to
// the pool through one channel and comes back through another, so that a request parks and wakes
// several goroutines.
//
// Lines on its standard input are commands; each gets one line of JSON as its answer:
//
//	TRACE   runtime/trace is on, its output thrown away, until OFF
//	FLIGHT  runtime/trace's flight recorder is on until OFF
//	OFF     both are off
//	CPU     says how many seconds of CPU time the process took so far
//
// It ends when its standard input does.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/trace"
	"syscall"

	"gotrace.test/programs/internal/program"
)

// job is a request on its way to a worker.
type job struct {
	text  string
	reply chan int
}

func main() {
	workers := flag.Int("workers", 8, "goroutines that make answers")
	flag.Parse()
	runtime.GOMAXPROCS(2)

	jobs := make(chan job)
	for i := 0; i < *workers; i++ {
		go work(jobs)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	http.HandleFunc("/", func(answer http.ResponseWriter, request *http.Request) {
		reply := make(chan int)
		jobs <- job{request.URL.Path, reply}
		fmt.Fprintln(answer, <-reply)
	})
	go func() {
		fmt.Fprintln(os.Stderr, http.Serve(listener, nil))
		os.Exit(1)
	}()
	program.Ready(map[string]any{"http": listener.Addr().String()})

	off := func() {}
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		switch input.Text() {
		case "TRACE":
			if err := trace.Start(io.Discard); err != nil {
				panic(err)
			}
			off = trace.Stop
			program.Tell(true)
		case "FLIGHT":
			off = record()
			program.Tell(true)
		case "OFF":
			off()
			off = func() {}
			program.Tell(true)
		case "CPU":
			var usage syscall.Rusage
			if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
				panic(err)
			}
			program.Tell(float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9)
		default:
			fmt.Fprintf(os.Stderr, "not a command: %q\n", input.Text())
			os.Exit(1)
		}
	}
}

// work makes answers.
func work(jobs <-chan job) {
	for j := range jobs {
		sum := 0
		for _, c := range j.text {
			sum += int(c)
		}
		j.reply <- sum
	}
}
