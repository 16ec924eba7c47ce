package control

import (
	"bufio"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"vrrpd/election"
)

// metricsType is the text format of Prometheus.
const metricsType = "text/plain; version=0.0.4; charset=utf-8"

const (
	// metricsChunk is how much of an answer is written at once.
	metricsChunk = 32 << 10
	// scrapeLimit is how long a reader may take for all of it: longer than Prometheus
	// waits by default.
	scrapeLimit = 15 * time.Second
)

// metricWriters are used again: otherwise they are most of the garbage of an answer.
var metricWriters = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, metricsChunk) }}

// metrics answers a scrape. It costs the daemon what a status does.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	answerMetrics(w, r, &s.scrapes, func() []Status { return []Status{s.status()} })
}

func answerMetrics(w http.ResponseWriter, r *http.Request, p *pace, all func() []Status) {
	if p.enter(r.Context()) != nil {
		return
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(scrapeLimit))
	w.Header().Set("Content-Type", metricsType)
	// A reader that has gone is nobody's error.
	out := stopwatch{w: w, began: time.Now()}
	_ = WriteMetrics(&out, all())
	p.leave(out.elapsed())
}

// WriteMetrics writes what the groups of one process said in the text format of
// Prometheus, piece by piece.
//
// The number of series is bounded by the configuration and by closed lists of words:
// nothing that a packet brings, a peer's address least of all, is in a label. Of series
// by reason there are those that happened.
func WriteMetrics(w io.Writer, all []Status) error {
	out := metricWriters.Get().(*bufio.Writer)
	out.Reset(w)
	defer func() {
		out.Reset(nil)
		metricWriters.Put(out)
	}()
	m := metricWriter{out: out}
	for i := range metricFamilies {
		f := &metricFamilies[i]
		m.family(f)
		for j := range all {
			st := &all[j]
			if f.process && j > 0 {
				break
			}
			f.samples(&m, st)
		}
	}
	return m.out.Flush()
}

// family is what one metric is, and how its samples are made of a status.
type family struct {
	name, kind, help string
	process          bool // of the process, and not of each of its groups
	samples          func(m *metricWriter, st *Status)
}

// metricPrefix is what all names begin with.
const metricPrefix = "vrrpd_"

// metricWriter writes samples of the present family. An error stays in out.
type metricWriter struct {
	out  *bufio.Writer
	name string
	buf  []byte
}

var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func (m *metricWriter) family(f *family) {
	m.name = f.name
	for _, s := range [...]string{"# HELP ", metricPrefix, f.name, " ", helpEscapes.Replace(f.help), "\n# TYPE ", metricPrefix, f.name, " ", f.kind, "\n"} {
		m.out.WriteString(s)
	}
}

// sample writes a value with labels, which are names and values in turn.
func (m *metricWriter) sample(v float64, labels ...string) {
	b := append(append(m.buf[:0], metricPrefix...), m.name...)
	for i := 0; i < len(labels); i += 2 {
		b = append(b, "{,"[min(i, 1)])
		b = append(b, labels[i]...)
		b = append(b, `="`...)
		b = append(b, labelEscapes.Replace(strings.ToValidUTF8(labels[i+1], "?"))...)
		b = append(b, '"')
	}
	if len(labels) > 0 {
		b = append(b, '}')
	}
	b = append(b, ' ')
	b = strconv.AppendFloat(b, v, 'g', -1, 64)
	m.buf = append(b, '\n')
	m.out.Write(m.buf)
}

func (m *metricWriter) count(n uint64, labels ...string) { m.sample(float64(n), labels...) }

func (m *metricWriter) flag(is bool, labels ...string) {
	v := 0.0
	if is {
		v = 1
	}
	m.sample(v, labels...)
}

// ofGroup is a value of each group.
func ofGroup(value func(*Status) float64) func(*metricWriter, *Status) {
	return func(m *metricWriter, st *Status) { m.sample(value(st), "group", st.Machine.Group) }
}

// ofRouter is a value of each virtual router.
func ofRouter(value func(*Router) float64) func(*metricWriter, *Status) {
	return eachRouter(func(m *metricWriter, r *Router, labels []string) { m.sample(value(r), labels...) })
}

// ofCounter is a count of each virtual router.
func ofCounter(value func(*Statistics) uint64) func(*metricWriter, *Status) {
	return ofRouter(func(r *Router) float64 { return float64(value(&r.Statistics)) })
}

func eachRouter(sample func(m *metricWriter, r *Router, labels []string)) func(*metricWriter, *Status) {
	return func(m *metricWriter, st *Status) {
		var labels [16]string // with room for more
		for i := range st.Routers {
			r := &st.Routers[i]
			sample(m, r, append(labels[:0], "group", st.Machine.Group, "interface", r.Interface,
				"vrid", strconv.Itoa(int(r.VRID)), "family", r.Family))
		}
	}
}

func seconds(ms float64) float64 { return ms / 1000 }

func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// phases are all states of a machine.
func phases() (all []string) {
	for s := election.Init; s.String() != election.State(255).String(); s++ {
		all = append(all, s.String())
	}
	return all
}

// goVersion is what the program was built with.
func goVersion() string { return runtime.Version() }
