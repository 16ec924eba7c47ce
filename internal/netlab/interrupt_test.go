package netlab

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// victimEnv makes the test binary a program that builds a lab and is then
// interrupted; its value says how it takes that.
const victimEnv = "NETLAB_TEST_VICTIM"

// Names by which the test sees, from outside, that the victim's host exists.
const (
	witnessLink = "witness"
	witnessProg = "sleep"
)

// victim runs on a host of the test's lab. It builds a lab of its own in there,
// with a daemon in the background and a cable that reaches out of it, says
// ready, and waits to be interrupted.
func victim(how string) int {
	ctx := context.Background()
	if how == "tidy" {
		var stop func()
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
	}
	if err := victimLab(ctx, how); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func victimLab(ctx context.Context, how string) error {
	lab, err := New()
	if err != nil {
		return err
	}
	n, err := TwoRouters(lab, TwoRoutersOptions{})
	if err != nil {
		return err
	}
	if _, err := n.R1.Run(ctx, Command{Path: "sh", Args: []string{"-c", "setsid " + witnessProg + " 1000 >/dev/null 2>&1 &"}}); err != nil {
		return err
	}
	if _, err := n.R2.Start(Command{Path: witnessProg, Args: []string{"1000"}}); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = witnessLink
	err = netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "out", PeerNamespace: netlink.NsFd(n.R1.spaces.net.Fd())})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if how == "panic" {
		panic("as the test wishes")
	}
	if how == "exit" {
		os.Exit(7)
	}
	<-ctx.Done() // for ever, unless tidy
	if err := lab.Close(); err != nil {
		return err
	}
	fmt.Println("closed")
	return nil
}

func TestInterruptedRunLeavesNothing(t *testing.T) {
	for _, c := range []struct {
		how  string
		sig  syscall.Signal // 0: it ends by itself
		ends string         // the state in which it ends
	}{
		{"plain", unix.SIGINT, "interrupt"},
		{"plain", unix.SIGTERM, "terminated"},
		{"plain", unix.SIGKILL, "killed"},
		{"tidy", unix.SIGINT, "exit status 0"},
		{"tidy", unix.SIGTERM, "exit status 0"},
		{"panic", 0, "exit status 2"},
		{"exit", 0, "exit status 7"},
	} {
		t.Run(fmt.Sprintf("%s by %v", c.how, c.sig), func(t *testing.T) {
			h := must[*Host](t)(ForTest(t).Host("outer", HostOptions{}))
			p := must[*Proc](t)(h.Start(Command{Path: "/proc/self/exe", Env: []string{victimEnv + "=" + c.how}}))
			_, err := p.WaitLine(within(t), func(l Line) bool { return l.Text == "ready" })
			check(t, err)
			if c.sig != 0 {
				// Nothing of this is proven unless it was there before.
				if l := must[Link](t)(h.Link(witnessLink)); !l.Exists() {
					t.Fatal("the victim has no witness")
				}
				Eventually(t, limit, func() (bool, string) {
					found, err := living(h)
					running := slices.DeleteFunc(found, func(p string) bool { return p != witnessProg+" 1000" })
					return err == nil && len(running) == 2, fmt.Sprint(found, err)
				})
				check(t, p.Signal(c.sig))
			}
			state := must[*os.ProcessState](t)(p.Wait(within(t)))
			if got := state.String(); !strings.HasSuffix(got, c.ends) && !strings.Contains(got, c.ends) {
				t.Errorf("victim ended with %q, want %q: %s", got, c.ends, p.tail(10))
			}
			if _, err := h.WaitLink(within(t), witnessLink, func(l Link) bool { return !l.Exists() }); err != nil {
				t.Errorf("the victim's network is still there: %v", err)
			}
			Eventually(t, limit, func() (bool, string) {
				left, err := living(h)
				return err == nil && len(left) == 0, fmt.Sprint(left, err)
			})
		})
	}
}

// living lists the processes that live anywhere below the host: those of labs
// inside it too, which have process namespaces of their own.
func living(h *Host) ([]string, error) {
	var list []string
	err := h.Do(func() error {
		dirs, err := os.ReadDir("/proc")
		for _, d := range dirs {
			if d.Name() == "1" || strings.Trim(d.Name(), "0123456789") != "" {
				continue
			}
			// Empty for a zombie, which is dead.
			if cmdline, err := os.ReadFile("/proc/" + d.Name() + "/cmdline"); err == nil && len(cmdline) > 0 {
				list = append(list, strings.ReplaceAll(strings.TrimSuffix(string(cmdline), "\x00"), "\x00", " "))
			}
		}
		return err
	})
	return list, err
}
