package acceptance

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vrrpd/internal/netlab"
)

// judge decides over every sendmmsg of a process, by which adverts are sent and
// nothing else is (seccomp, user notification): the kernel has no other way to
// make it fail for a reason of one's choice.
type judge struct {
	fd      int
	verdict atomic.Int32 // an errno; 0: let it pass
	done    chan struct{}
	ended   atomic.Bool
}

// judgeSocket is where the process that is to be judged sends the descriptor.
const judgeSocket = "/run/judge"

// startJudged starts the daemon of a LAN under a judge who lets everything pass.
func (r *router) startJudged(l lan) *judge {
	t := r.site.t
	t.Helper()
	var conn *net.UnixConn
	check(t, r.Do(func() (err error) {
		conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: judgeSocket, Net: "unixgram"})
		return err
	}))
	defer conn.Close()
	j := &judge{done: make(chan struct{})}
	began := make(chan error, 1)
	// The program comes here before it starts, and waits to be judged from then on.
	go func() {
		err := j.receive(conn)
		began <- err
		if err == nil {
			j.sit()
		}
		close(j.done)
	}()
	t.Cleanup(func() {
		j.ended.Store(true)
		<-j.done
	})
	r.startLine(toolLine(toolJudged, r.opts.line(r.number, l)))
	check(t, <-began)
	return j
}

func (j *judge) receive(conn *net.UnixConn) error {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("no descriptor: %d, %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err == nil {
		j.fd = fds[0]
	}
	return err
}

// notification and response are struct seccomp_notif and seccomp_notif_resp.
type notification struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type response struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

// sit judges until nobody is left to be judged. Waiting has a limit only so that
// it ends with a test that has failed.
func (j *judge) sit() {
	defer unix.Close(j.fd)
	for !j.ended.Load() {
		fds := []unix.PollFd{{Fd: int32(j.fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, 100); n <= 0 {
			if err != nil && err != unix.EINTR {
				return
			}
			continue
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			return
		}
		var asked notification
		if !j.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&asked)) {
			continue // the one who asked is no more
		}
		answer := response{id: asked.id, err: -j.verdict.Load()}
		if answer.err == 0 {
			answer.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
		}
		j.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&answer))
	}
}

func (j *judge) ioctl(request uintptr, arg unsafe.Pointer) bool {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(j.fd), request, uintptr(arg))
	return errno == 0
}

// judged becomes the program, whose adverts are judged by who listens.
func judged(args []string) error {
	runtime.LockOSThread()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_SENDMMSG},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(s, []byte{0}, unix.UnixRights(int(fd)), &unix.SockaddrUnix{Name: judgeSocket}, 0); err != nil {
		return os.NewSyscallError("sendmsg", err)
	}
	unix.CloseOnExec(int(fd))
	return become(args)
}

// Adverts that the kernel refuses, for whatever reason, renew no lease: before it
// ends the machine has left, says why, and resigns where it can. When they leave
// again it recovers.
func judgeSendsFail(t *testing.T) {
	t.Parallel()
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENETDOWN, unix.ENOBUFS} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			onStage(t)
			s := newSite(t, calm)
			r := s.r1
			j := r.startJudged(lanA)
			r.start(lanB)
			for _, l := range lans {
				r.waitServing(l)
			}
			s.r2.startAll()
			s.settled(r, s.r2)
			quietly(t, func() { r.refused(j, errno) })
			for _, l := range lans {
				s.r2.waitServing(l)
			}
			j.verdict.Store(0)
			s.settled(r, s.r2)
		})
	}
}

// refused has the adverts of LAN A refused, and judges what comes of it.
func (r *router) refused(j *judge, errno unix.Errno) {
	t := r.site.t
	t.Helper()
	const span = 600 * time.Millisecond // two intervals
	spoken := r.sniff(lanA, netlab.MatchAdverts())
	zero := r.sniff(lanB, netlab.MatchPriority(0))
	mark, letters := r.fence(), r.syslog.mark()
	last := r.waitAdverts(spoken, 1)[0].At
	j.verdict.Store(int32(errno))
	for _, l := range lans {
		gone := r.waitEvent(mark, l.vrrp(), netlab.AddrGone, l.vip).At.Sub(last)
		t.Logf("%s was given up %s after the last advert", l.vip, ms(gone))
		if gone > span {
			t.Errorf("%s was given up %s after the last advert, its lease was for 600 ms", l.vip, ms(gone))
		}
	}
	r.waitAdvert(zero, 0, "resigns on LAN B", func(netlab.Advert) bool { return true })
	r.syslog.waitFor(t, letters, "why", func(text string) bool {
		return containing("-> HELD: send-failed")(text) && containing(errno.Error())(text)
	})
}
