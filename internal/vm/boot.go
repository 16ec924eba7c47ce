package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// lastWord is what guest says in the end, with the exit code behind it.
const lastWord = "vm: the tests ended with exit code "

// boot runs the machine until it ends, and returns the exit code that came over its
// serial line.
func boot(ctx context.Context, kernel, initrd string, o options) (int, error) {
	limited, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	say := "quiet loglevel=3"
	if o.verbose {
		say = ""
	}
	args := []string{
		"-M", "q35", "-smp", "1", "-m", "1024", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "stdio", "-kernel", kernel, "-initrd", initrd,
		"-append", "console=ttyS0 panic=-1 reboot=t rdinit=/init " + say,
	}
	if o.kvm {
		args = append(args, "-accel", "kvm", "-cpu", "host")
	} else {
		// The machine's clock goes by the instructions that it has executed, and jumps
		// when it waits: it knows nothing of what else runs here.
		args = append(args, "-accel", "tcg,thread=single", "-icount", "shift=1,sleep=off", "-rtc", "clock=vm", "-cpu", "max")
	}
	cmd := exec.CommandContext(limited, "qemu-system-x86_64", args...)
	cmd.Stderr = os.Stderr
	console, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start qemu: %w", err)
	}
	code, said, err := follow(console, os.Stdout)
	err = errors.Join(err, cmd.Wait())
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case limited.Err() != nil:
		return 0, fmt.Errorf("the machine had not finished after %v", o.limit)
	case !said:
		return 0, fmt.Errorf("the machine died without a last word: %w", err)
	}
	return code, nil
}

// follow shows what the machine prints and finds its last word.
func follow(console io.Reader, show io.Writer) (code int, said bool, err error) {
	lines := bufio.NewScanner(console)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		if _, err := fmt.Fprintln(show, line); err != nil {
			return 0, false, err
		}
		if number, ok := strings.CutPrefix(line, lastWord); ok {
			if code, err = strconv.Atoi(number); err == nil {
				said = true
			}
		}
	}
	return code, said, lines.Err()
}
