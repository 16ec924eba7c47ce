package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"vrrpd/config"
	"vrrpd/control"
)

// listenMetrics answers Prometheus on the address that is configured, if one is, until
// the function that it returns is called. A port that cannot be had is wrong usage, and
// refuses the start; one that is lost at work, or cannot be had by another program of a
// process at work, is told, and nothing else: routers are worth more than their metrics.
func (p *Process) listenMetrics() (stop func(), err error) {
	all := p.all()
	if len(all) == 0 || !all[0].cfg.Metrics.IsValid() {
		return func() {}, nil
	}
	addr := all[0].cfg.Metrics
	server := &control.MetricsServer{All: p.statuses, Log: p.opt.Log}
	if p.state == nil {
		if err := server.Listen(addr); err != nil {
			return nil, config.UsageError(fmt.Sprintf("%v: choose another port, or leave the key metrics away", err))
		}
	} else if err := p.adoptMetrics(server, addr); err != nil {
		p.opt.Log.Error("nobody answers Prometheus", slog.Any("err", err))
		return func() {}, nil
	}
	p.port = server
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Run(ctx); err != nil {
			p.opt.Log.Error("nobody answers Prometheus any more", slog.Any("err", err))
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}, nil
}

// adoptMetrics goes on with the port of the last program, or opens it anew.
func (p *Process) adoptMetrics(server *control.MetricsServer, addr netip.AddrPort) error {
	var was keptProcess
	err := p.state.Part(processPart, &was)
	if err == nil && was.Metrics != 0 {
		if err = server.Adopt(was.Metrics); err == nil {
			return nil
		}
	}
	if again := server.Listen(addr); again != nil {
		return errors.Join(err, again)
	}
	return nil
}

// statuses are those of all groups, by name. They are asked side by side, so that a
// stuck one delays the others by nothing but its own patience.
func (p *Process) statuses() []control.Status {
	all := p.all()
	answers := make([]control.Status, len(all))
	var wg sync.WaitGroup
	for i, m := range all {
		wg.Go(func() {
			answers[i] = m.Status()
			if g := &answers[i].Machine.Group; *g == "" {
				*g = m.name
			}
		})
	}
	wg.Wait()
	return answers
}
