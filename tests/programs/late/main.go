// Command late moves money between two accounts, whose keys are tokens in channels. For a while all
// goes well, since every teller takes the keys in the same order. Then one takes them the other way
// round, and sooner or later two tellers hold one key each and wait for the other for ever.
//
// It ends when its input does.
package main

import (
	"flag"
	"io"
	"os"
	"time"

	"gotrace.test/programs/internal/program"
)

// key is the right to touch an account: whoever took the token out has it.
type key chan struct{}

func newKey() key {
	k := make(key, 1)
	k <- struct{}{}
	return k
}

func (k key) take() { <-k }

func (k key) giveBack() { k <- struct{}{} }

func main() {
	wellFor := flag.Duration("well-for", 2*time.Second, "time until one teller takes the keys the other way round")
	flag.Parse()
	savings, current := newKey(), newKey()
	wrongFrom := time.Now().Add(*wellFor)
	go careful(savings, current)
	go careless(savings, current, wrongFrom)
	program.Ready(nil)
	// Nothing here refers to the keys any more.
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func careful(savings, current key) {
	for {
		savings.take()
		time.Sleep(2 * time.Millisecond)
		current.take()
		current.giveBack()
		savings.giveBack()
		time.Sleep(5 * time.Millisecond)
	}
}

func careless(savings, current key, wrongFrom time.Time) {
	for {
		first, second := savings, current
		if time.Now().After(wrongFrom) {
			first, second = current, savings
		}
		first.take()
		time.Sleep(2 * time.Millisecond)
		second.take()
		second.giveBack()
		first.giveBack()
		time.Sleep(3 * time.Millisecond)
	}
}
