// Command relay becomes the program that its argument names once it is given a line: the process stays, and
// runs another program from then on.
package main

import (
	"bufio"
	"os"
	"syscall"

	"gotrace.test/programs/internal/program"
)

func main() {
	program.Ready(nil)
	if _, err := bufio.NewReaderSize(os.Stdin, 16).ReadString('\n'); err != nil {
		return
	}
	if err := syscall.Exec(os.Args[1], os.Args[1:], os.Environ()); err != nil {
		panic(err)
	}
}
