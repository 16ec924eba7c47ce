package sysd

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// handler turns slog records into entries and hands them to a Log. Group names
// become prefixes: group "lease", key "rung" is lease_rung.
type handler struct {
	log    *Log
	prefix string
	fields []field // of WithAttrs; shared between handlers, never written
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.log.level.Level() }

// Handle resolves the record on the calling goroutine and posts it. It never
// blocks and never fails: a record that finds the queue full is counted.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	e := entry{time: r.Time, level: r.Level, message: r.Message}
	e.fields = make([]field, len(h.fields), len(h.fields)+r.NumAttrs())
	copy(e.fields, h.fields)
	r.Attrs(func(a slog.Attr) bool {
		e.fields = flatten(e.fields, h.prefix, a)
		return true
	})
	h.log.post(e)
	return nil
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	g := *h
	g.fields = slices.Clip(slices.Clone(h.fields))
	for _, a := range attrs {
		g.fields = flatten(g.fields, h.prefix, a)
	}
	return &g
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	g := *h
	g.prefix += name + "_"
	return &g
}

func flatten(dst []field, prefix string, a slog.Attr) []field {
	v := a.Value.Resolve()
	switch {
	case v.Kind() == slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "_"
		}
		for _, b := range v.Group() {
			dst = flatten(dst, prefix, b)
		}
		return dst
	case a.Key == "":
		return dst
	case v.Kind() == slog.KindTime:
		return append(dst, field{prefix + a.Key, v.Time().Format(time.RFC3339Nano)})
	}
	return append(dst, field{prefix + a.Key, v.String()})
}
