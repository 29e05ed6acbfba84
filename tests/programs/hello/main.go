// Command hello does nothing until its standard input ends.
package main

import (
	"io"
	"os"

	"gotrace.test/programs/internal/program"
)

func main() {
	program.Ready(nil)
	_, _ = io.Copy(io.Discard, os.Stdin)
}
