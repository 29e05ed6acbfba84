// Parked parks as many goroutines as its argument says, each in a small call chain, on unbuffered
// channels that ten of them share, then prints "ready" and runs until its standard input ends.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"time"
)

//go:noinline
func receive(ch chan int, n int) int {
	if n == 0 {
		return <-ch
	}
	return receive(ch, n-1) + n
}

func main() {
	count, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	var ch chan int
	for i := 0; i < count; i++ {
		if i%10 == 0 {
			ch = make(chan int)
		}
		go receive(ch, i%4)
	}
	// All have run once only if none is left to run.
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		before := time.Now()
		runtime.Gosched()
		if time.Since(before) < 20*time.Microsecond {
			break
		}
	}
	time.Sleep(time.Second)
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}
