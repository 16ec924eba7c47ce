// Command quiet has one MiB in use until its input ends.
package main

import (
	"io"
	"os"
	"runtime"
)

func main() {
	b := make([]byte, 1<<20)
	os.Stdout.WriteString("\n")
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(b)
}
