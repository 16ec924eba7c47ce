package heapsites

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

var serving = Serve()

// kept is what a program has in use.
var keptHere [][]byte

//go:noinline
func keep(n int) { keptHere = append(keptHere, make([]byte, n)) }

// of are the bytes of the sites that go through a function.
func (s Sites) of(function string) (bytes int64) {
	for site, n := range s {
		if strings.Contains(site, function+":") {
			bytes += n
		}
	}
	return bytes
}

// What is in use is counted to the byte, where it was made, and no more when it is let
// go of.
func TestSites(t *testing.T) {
	if serving != nil {
		t.Fatal(serving)
	}
	keptHere = make([][]byte, 0, 100)
	for range 100 {
		keep(208) // a size class
	}
	got, err := Ask(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if n := got.Sites.of("heapsites.keep"); n != 100*208 {
		t.Errorf("%d bytes are in use, want %d, of %v", n, 100*208, got.Sites)
	}
	clear(keptHere[50:])
	if n := Take().of("heapsites.keep"); n != 50*208 {
		t.Errorf("%d bytes are in use, want %d", n, 50*208)
	}
	keptHere = nil
	if n := Take().of("heapsites.keep"); n != 0 {
		t.Errorf("%d bytes are in use, want none", n)
	}
}

// Goroutines that have ended leave what the runtime keeps, which is nobody's.
func TestWhatTheRuntimeKeeps(t *testing.T) {
	before := Take().Sum()
	var live runtime.MemStats
	runtime.ReadMemStats(&live)
	was := live.HeapAlloc
	var all sync.WaitGroup
	hold := make(chan struct{})
	for range 1000 {
		all.Go(func() { <-hold })
	}
	close(hold)
	all.Wait()
	grown := Take().Sum() - before
	runtime.ReadMemStats(&live)
	if kept := int64(live.HeapAlloc) - int64(was); kept < 200_000 {
		t.Skipf("the runtime has kept %d bytes of a thousand goroutines", kept)
	}
	if grown > 20_000 {
		t.Errorf("%d bytes are said to be the program's", grown)
	}
}

func TestReadRefuses(t *testing.T) {
	for what, text := range map[string]string{
		"a line without a number":        "7\t\n12\ta < b\nabc\n",
		"an answer that has ended early": "",
	} {
		if got, err := read(strings.NewReader(text)); err == nil {
			t.Errorf("%s is read: %v", what, got)
		}
	}
}

func TestGrowth(t *testing.T) {
	got := Sites{"a": 5, "b": 30, "c": 7, "d": 9}.Growth(Sites{"a": 6, "b": 10, "d": 9}, 5)
	want := []string{"20 bytes: b", "7 bytes: c"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A program of which nothing is known serves when it is built so.
func TestFlags(t *testing.T) {
	scratch := t.TempDir()
	flags, err := Flags("testdata/quiet", scratch)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(scratch, "quiet")
	if out, err := exec.Command("go", append(append([]string{"build"}, flags...), "-o", program, "./testdata/quiet")...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := exec.Command(program)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // it is in main
		t.Fatal(err)
	}
	got, err := Ask(c.Process.Pid)
	if err != nil {
		t.Error(err)
	} else if n := got.Sites.of("main.main"); n < 1<<20 || n > 1<<20+1<<16 {
		t.Errorf("%d bytes are in use, want one MiB: %v", n, got.Sites)
	}
	in.Close()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

// Who connects and does not read holds nobody up for good; here: it goes away.
func TestCallerGoesAway(t *testing.T) {
	c, err := net.Dial("unix", name(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := Ask(os.Getpid()); err != nil {
		t.Error(err)
	}
}
