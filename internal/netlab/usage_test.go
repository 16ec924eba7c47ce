package netlab

import (
	"os"
	"testing"
	"time"
)

// self is this process, as Processes would list it.
func self() Process { return Process{PID: os.Getpid(), Args: os.Args} }

func TestCPU(t *testing.T) {
	before, err := self().CPU()
	if err != nil {
		t.Fatal(err)
	}
	// Work until the clock of the process has moved: however busy the machine is, it
	// moves by what is worked.
	for deadline := time.Now().Add(patience); ; {
		after, err := self().CPU()
		if err != nil {
			t.Fatal(err)
		}
		if after-before > 10*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("worked for %v, the clock shows %v", patience, after-before)
		}
	}
	// Beyond the largest number that the kernel gives.
	if _, err := (Process{PID: 1 << 22, Args: []string{"nobody"}}).CPU(); err == nil {
		t.Error("a process that does not exist has a clock")
	}
}

func TestMemory(t *testing.T) {
	before, err := self().Memory()
	if err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	block := make([]byte, size)
	for i := range block {
		block[i] = 1
	}
	after, err := self().Memory()
	if err != nil {
		t.Fatal(err)
	}
	if after.RSS-before.RSS < size/2 || after.PSS-before.PSS < size/2 || after.PSS > after.RSS || block[size-1] == 0 {
		t.Errorf("before %+v, with %d bytes more %+v", before, size, after)
	}
	if _, err := (Process{PID: 1 << 22, Args: []string{"nobody"}}).Memory(); err == nil {
		t.Error("a process that does not exist has memory")
	}
}
