package sysd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// journalSink speaks the journal's native protocol
// (systemd.io/JOURNAL_NATIVE_PROTOCOL). It is our own and not go-systemd's
// journal.Send, whose socket is not connected (its poller never learns that
// journald has room again), whose path is fixed and whose fields come in the
// order of a map.
type journalSink struct {
	sock       dgram
	identifier string
	fallback   sink // stderr, for when journald cannot be reached
	buf        []byte
}

func (s *journalSink) write(e *entry, by time.Time) error {
	s.buf = s.encode(s.buf[:0], e)
	err := s.sock.send(s.buf, nil, by)
	if err != nil && tooLarge(err) {
		err = s.sendFile(by)
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if s.fallback.write(e, by) == nil {
		return nil
	}
	return err
}

func (s *journalSink) close() {
	s.sock.close()
	s.fallback.close()
}

func (s *journalSink) encode(b []byte, e *entry) []byte {
	b = appendField(b, "MESSAGE", e.line(false))
	b = appendField(b, "PRIORITY", strconv.Itoa(priority(e.level)))
	b = appendField(b, "SYSLOG_IDENTIFIER", s.identifier)
	for _, f := range e.fields {
		if key := journalKey(f.key); key != "" {
			b = appendField(b, key, f.value)
		}
	}
	return b
}

// appendField writes KEY=value, or in the binary form (a 64-bit little-endian
// length) a value with line breaks.
func appendField(b []byte, key, value string) []byte {
	b = append(b, key...)
	if !strings.Contains(value, "\n") {
		b = append(b, '=')
	} else {
		b = append(b, '\n')
		b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	}
	b = append(b, value...)
	return append(b, '\n')
}

// journalKey makes a field name that journald accepts: A-Z, 0-9 and _, beginning
// with a letter, 64 bytes at most; anything else is silently dropped there. A
// key that would say again what is the record's own gets our prefix.
func journalKey(key string) string {
	key = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		default:
			return '_'
		}
	}, key)
	key = strings.TrimLeft(key, "_")
	if key == "" {
		return ""
	}
	if key[0] <= '9' || slices.Contains([]string{"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"}, key) {
		key = "VRRP_" + key
	}
	return key[:min(len(key), 64)]
}

// sendFile hands the record over as a sealed memory file, for what is too large
// for a datagram.
func (s *journalSink) sendFile(by time.Time) error {
	fd, err := unix.MemfdCreate("journal-entry", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return fmt.Errorf("make a memory file for a journal entry: %w", err)
	}
	f := os.NewFile(uintptr(fd), "journal-entry")
	defer f.Close()
	if _, err := f.Write(s.buf); err != nil {
		return fmt.Errorf("write a journal entry to a memory file: %w", err)
	}
	seals := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal a journal entry: %w", err)
	}
	return s.sock.send(nil, unix.UnixRights(fd), by)
}
