//go:build !go1.25

package main

func record() func() {
	panic("the flight recorder came with Go 1.25")
}
