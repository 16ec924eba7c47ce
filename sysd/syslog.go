package sysd

import (
	"strconv"
	"time"
)

// facilityDaemon is LOG_DAEMON of syslog(3), already shifted.
const facilityDaemon = 3 << 3

// syslogSink writes the datagrams of RFC 3164 as a local syslogd reads them:
// "<30>Nov 23 14:03:12 vrrpd[42]: line". It is not log/syslog, whose write
// cannot be given up when syslogd is stuck.
type syslogSink struct {
	sock dgram
	tag  string
	pid  int
}

func (s *syslogSink) write(e *entry, by time.Time) error {
	at := e.time
	if at.IsZero() {
		at = time.Now()
	}
	b := make([]byte, 0, 256)
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(facilityDaemon|priority(e.level)), 10)
	b = append(b, '>')
	b = at.Local().AppendFormat(b, time.Stamp)
	b = append(b, ' ')
	b = append(b, s.tag...)
	b = append(b, '[')
	b = strconv.AppendInt(b, int64(s.pid), 10)
	b = append(b, "]: "...)
	b = append(b, e.line(true)...)
	return s.sock.send(b, nil, by)
}

func (s *syslogSink) close() { s.sock.close() }
