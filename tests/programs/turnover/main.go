// Command turnover creates goroutines at a steady rate, pairs that meet once and end, until so many have
// come and gone. It begins at the line GO, prints how many there were as one line of JSON and waits
// for the end of its standard input.
package main

import (
	"bufio"
	"flag"
	"io"
	"os"
	"sync"
	"time"

	"gotrace.test/programs/internal/program"
)

type truth struct {
	Created int `json:"created"`
}

func main() {
	count := flag.Int("n", 10_000_000, "goroutines in all")
	rate := flag.Int("rate", 16_700, "goroutines a second")
	flag.Parse()
	program.Ready(nil)
	input := bufio.NewReader(os.Stdin)
	if line, err := input.ReadString('\n'); err != nil || line != "GO\n" {
		os.Exit(1)
	}

	const each = 10 * time.Millisecond
	pairs := int(int64(*rate) * int64(each) / int64(time.Second) / 2)
	created := 0
	for next := time.Now(); created < *count; created += 2 * pairs {
		come(pairs)
		next = next.Add(each)
		time.Sleep(time.Until(next))
	}
	program.Tell(truth{created})
	_, _ = io.Copy(io.Discard, input)
}

// come lets so many pairs of goroutines come, meet on a channel of their own, and go.
func come(pairs int) {
	var gone sync.WaitGroup
	gone.Add(2 * pairs)
	for i := 0; i < pairs; i++ {
		c := make(chan int)
		go func() {
			defer gone.Done()
			<-c
		}()
		go func() {
			defer gone.Done()
			c <- 1
		}()
	}
	gone.Wait()
}
