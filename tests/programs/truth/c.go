//go:build cgo

package main

// #include <unistd.h>
//
// static int wait_in_c(int fd) {
// 	char byte;
// 	return read(fd, &byte, 1);
// }
import "C"

import (
	"syscall"

	"gotrace.test/programs/internal/program"
)

//go:noinline
func waitInC(fd int) { C.wait_in_c(C.int(fd)) }

// startInC starts a goroutine that waits inside a C function.
func startInC() bool {
	ends := make([]int, 2)
	if err := syscall.Pipe(ends); err != nil {
		panic(err)
	}
	must(program.NewWatcher(1<<20), "syscall", "main.waitInC(", func() { waitInC(ends[0]) })
	return true
}
