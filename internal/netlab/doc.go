// Package netlab is a network laboratory in one process: hosts, switches and
// cables made of Linux namespaces, and the instruments that measure them. The
// tests, the demo and the benchmarks of vrrpd stand on it. It runs no external
// program (no ip, ping or nsenter), only the programs that it is asked to run
// inside a Host.
//
//	func TestMain(m *testing.M) {
//		netlab.Hook() // must come first: see below
//		os.Exit(m.Run())
//	}
//
//	func TestPull(t *testing.T) {
//		lab := netlab.ForTest(t) // skips loudly without root
//		net, err := netlab.TwoRouters(lab, netlab.TwoRoutersOptions{})
//		...
//		echo, err := net.Server.StartEcho(netip.AddrPortFrom(net.B.Host, 7))
//		ping, err := net.Client.StartPinger(echo.Addr(), netlab.PingerOptions{})
//		err = net.R1A.Cut()
//		...
//		fmt.Println(ping.Stop().Longest(0))
//	}
//
// # What a host is
//
// A Host has its own network, mount, host-name and process namespace: a private
// tmpfs on /run, a private overlay on /etc (a test may write
// /etc/scripts/MASTER.sh and the machine never sees it), its own /proc and
// /sys. Everything else is the machine's own file system. The first process of
// a host is a holder: this very program, started again, which is why Hook has
// to be called first thing in main or TestMain. It does nothing but live: as
// the init of the host's process namespace it adopts daemons that went to the
// background, and when it dies the kernel kills whatever is left inside.
//
// # Nothing is left behind
//
// Nothing in a lab has a name outside: namespaces are held by descriptors and
// by the holder, and the holder lives as long as the other end of a pipe is
// open in this process. So however this process ends (return, panic, FailNow,
// os.Exit, SIGINT, SIGKILL), the kernel closes its descriptors, the holders
// leave, their processes are killed, and the namespaces with all their
// interfaces are destroyed. Lab.Close does the same in good order, waits for it
// and reports what would not go.
//
// # Time
//
// All instruments stamp with the wall clock, frames and datagrams by the kernel
// on arrival, so that their times can be compared with one another and with
// time.Now; a wall clock that is set while a lab runs spoils its measurements.
//
// # Words
//
// A Switch is a bridge without spanning tree, in a network namespace of its
// own; a Cable is a veth pair between a host and a switch, and its far end is
// the switch's port.
package netlab
