package netlab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/socket"
	"golang.org/x/sys/unix"
)

// SnifferOptions say what a sniffer keeps; the zero value is everything.
type SnifferOptions struct {
	// Match selects the frames, in the kernel.
	Match Match
	// Limit is how many frames are kept; what comes later is counted as
	// dropped. 0: 65536.
	Limit int
	// OnFrame is called for each frame kept, in order, by the sniffer's
	// goroutine. It must not block for long and must not close the sniffer.
	OnFrame func(Frame)
}

// Sniffer captures the frames of one interface, in both directions.
type Sniffer struct {
	name string
	conn *socket.Conn
	opts SnifferOptions
	item *item
	done chan struct{}

	frames *journal[Frame]

	mu      sync.Mutex
	dropped int // guarded by mu
}

// StartSniffer captures at an interface of the host, including its virtual ones.
func (h *Host) StartSniffer(ifname string, opts SnifferOptions) (*Sniffer, error) {
	return h.sniff(ifname, opts)
}

// StartSniffer captures at the switch's end of the cable: what is not Out there
// comes from the host of this cable and from nobody else, whatever its source
// MAC says. It sees what the host sends even while the port is blocked.
func (c *Cable) StartSniffer(opts SnifferOptions) (*Sniffer, error) {
	return c.Switch.sniff(c.Port, opts)
}

// captureBuffer is the kernel's buffer of a sniffer, in bytes: seconds of
// traffic while the machine is busy with something else.
const captureBuffer = 8 << 20

func (p *place) sniff(ifname string, opts SnifferOptions) (*Sniffer, error) {
	if opts.Limit == 0 {
		opts.Limit = 1 << 16
	}
	filter, err := opts.Match.classic()
	if err != nil {
		return nil, err
	}
	s := &Sniffer{name: p.name + " " + ifname, opts: opts, done: make(chan struct{}), frames: newJournal[Frame]()}
	link, err := p.nl.LinkByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("sniff at %s: %w", s.name, err)
	}
	err = p.DoNet(func() error {
		// Protocol 0: nothing arrives before the filter is in place.
		s.conn, err = socket.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0, "sniffer", nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sniff at %s: %w", s.name, err)
	}
	err = errors.Join(
		s.conn.SetBPF(filter),
		s.conn.SetsockoptInt(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		s.conn.SetsockoptInt(unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer),
		s.conn.Bind(&unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: link.Attrs().Index}),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sniff at %s: %w", s.name, err), s.conn.Close())
	}
	s.item = p.inside.push(s.end)
	go s.run()
	return s, nil
}

func (s *Sniffer) run() {
	defer close(s.done)
	buf, oob := make([]byte, 1<<16), make([]byte, 128)
	for {
		n, oobn, _, from, err := s.conn.Recvmsg(context.Background(), buf, oob, 0)
		if errors.Is(err, unix.ENETDOWN) {
			continue // the interface went down; the socket lives on
		}
		if err != nil {
			s.fail(err)
			return
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok {
			continue
		}
		s.keep(Frame{
			At:   arrival(oob[:oobn]),
			Out:  link.Pkttype == unix.PACKET_OUTGOING,
			Data: slices.Clone(buf[:n]),
		})
	}
}

func (s *Sniffer) keep(f Frame) {
	kept, ok := s.frames.add(s.opts.Limit, func(number int) Frame {
		f.N = number
		return f
	})
	if !ok {
		s.mu.Lock()
		s.dropped++
		s.mu.Unlock()
	} else if s.opts.OnFrame != nil {
		s.opts.OnFrame(kept)
	}
}

func (s *Sniffer) fail(err error) {
	if errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EBADF) {
		err = errors.New("it was closed")
	}
	s.frames.end(fmt.Errorf("sniffer at %s: %w", s.name, err))
}

// Mark returns the number that the next frame will get. The capture runs a
// little behind the wire: a frame that is just passing may be numbered later,
// so what matters is told apart by what is in it, or by its time.
func (s *Sniffer) Mark() int { return s.frames.mark() }

// Frames returns the frames from number mark on.
func (s *Sniffer) Frames(mark int) []Frame { return s.frames.from(mark) }

// WaitFor returns the first frame captured, before or after the call, that
// fulfils cond.
func (s *Sniffer) WaitFor(ctx context.Context, cond func(Frame) bool) (Frame, error) {
	return s.WaitFrom(ctx, 0, cond)
}

// WaitFrom is WaitFor among the frames from number mark on: with Mark those to
// come, with the N of the last one plus 1 those behind it.
func (s *Sniffer) WaitFrom(ctx context.Context, mark int, cond func(Frame) bool) (Frame, error) {
	f, err := s.frames.wait(ctx, mark, cond)
	if err != nil {
		return Frame{}, fmt.Errorf("await a frame at %s, none among %d: %w", s.name, s.Mark(), err)
	}
	return f, nil
}

// Dropped returns how many frames were lost to the capture, by Limit or in the
// kernel. A test that argues from the absence of a frame checks that it is 0.
func (s *Sniffer) Dropped() (int, error) {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var stats *unix.TpacketStats
	var statsErr error
	err = raw.Control(func(fd uintptr) {
		stats, statsErr = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	})
	if err = errors.Join(err, statsErr); err != nil {
		return 0, fmt.Errorf("statistics of sniffer at %s: %w", s.name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped += int(stats.Drops) // the kernel begins anew after each reading
	return s.dropped, nil
}

// Close ends the capture; what was captured stays readable.
func (s *Sniffer) Close() error { return s.item.Close() }

func (s *Sniffer) end() error {
	err := s.conn.Close()
	<-s.done
	return err
}

// arrival returns the kernel's timestamp from the control messages of a
// receive call, or the present time if there is none.
func arrival(oob []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err == nil {
		for _, m := range messages {
			if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
				return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
			}
		}
	}
	return now()
}

// now returns the wall clock without the monotonic one, as the kernel's stamps
// are, so that differences never mix the two.
func now() time.Time { return time.Now().Round(0) }

// networkOrder swaps the bytes of a protocol number as AF_PACKET wants it.
func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// Injector sends raw frames from an interface of a host.
type Injector struct {
	name string
	conn *socket.Conn
	to   *unix.SockaddrLinklayer
	item *item
}

// OpenInjector opens an interface of the host for sending.
func (h *Host) OpenInjector(ifname string) (*Injector, error) {
	in := &Injector{name: h.name + " " + ifname}
	link, err := h.nl.LinkByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("inject at %s: %w", in.name, err)
	}
	in.to = &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index}
	err = h.DoNet(func() error {
		in.conn, err = socket.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0, "injector", nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("inject at %s: %w", in.name, err)
	}
	in.item = h.inside.push(in.conn.Close)
	return in, nil
}

// Send sends one frame, from the destination MAC on.
func (in *Injector) Send(frame []byte) error {
	if err := in.conn.Sendto(context.Background(), frame, 0, in.to); err != nil {
		return fmt.Errorf("inject at %s: %w", in.name, err)
	}
	return nil
}

// Close closes the injector.
func (in *Injector) Close() error { return in.item.Close() }
