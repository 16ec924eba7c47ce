package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"vrrpd/accept"
	"vrrpd/config"
	"vrrpd/grouplock"
	"vrrpd/grouplock/siblings"
	"vrrpd/lan"
	"vrrpd/lease"
	"vrrpd/vmacif"
)

// Check is vrrpd --check: it validates a configuration against the machine and
// changes nothing. notes are what was added to what the user has written.
func Check(cfg config.Config) (notes, warnings []string, err error) {
	for _, r := range cfg.Routers {
		if note := r.GeneratedNote(); note != "" {
			notes = append(notes, note)
		}
	}
	d := New(cfg, Options{Log: slog.New(slog.DiscardHandler), Warn: func(w string) { warnings = append(warnings, w) }})
	err = d.check()
	if d.hands != nil {
		err = errors.Join(err, d.hands.Close())
	}
	if d.guards != nil {
		err = errors.Join(err, d.guards.Close())
	}
	return notes, warnings, err
}

// Release is vrrpd --release: it cleans up after instances that were killed,
// those that the configuration names or every dead one of the run directory.
// It resigns for what was MASTER, removes the interfaces and restores the
// parents. An instance that lives is left alone.
func Release(cfg config.Config, log *slog.Logger) error {
	if err := capable(); err != nil {
		return err
	}
	// Opening them takes a millisecond, which the peers wait for.
	guards := sync.OnceValues(func() (*lease.Guards, error) { return lease.Open(lease.Config{}) })
	hands, err := openHands(cfg.RunDir, "", loosen(guards))
	if err != nil {
		return err
	}
	defer hands.Close()
	var only []string
	names := map[string][]string{} // of the interfaces of each instance
	for _, r := range cfg.Routers {
		instance := cfg.Group
		if instance == "" {
			instance = instanceName(r)
		}
		if names[instance] == nil {
			only = append(only, instance)
		}
		names[instance] = append(names[instance], r.Name)
	}
	members, err := grouplock.List(cfg.RunDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var errs []error
	for _, m := range members {
		if only != nil && !slices.Contains(only, m.Instance) {
			continue
		}
		switch m.Status {
		case grouplock.Alive:
			log.Info(m.Instance+" lives: nothing to release", "pid", m.Pid)
		case grouplock.Dead:
			errs = append(errs, releaseDead(cfg, hands, guards, m.Instance, log))
		}
	}
	// The record may be gone (a run directory that was emptied) while the
	// interface still stands.
	for _, instance := range only {
		if instanceAlive(cfg.RunDir, instance) {
			continue
		}
		owner := ownerName(cfg.RunDir, instance)
		var left []string
		for _, name := range names[instance] {
			if iface, err := hands.Leftover(name, owner); err == nil && iface.Owner() == owner {
				log.Warn("removing " + name + ", which a dead " + instance + " has left")
				left = append(left, name)
			}
		}
		errs = append(errs, hands.ReleaseAll(left, owner))
		if g, err := guards(); err == nil {
			errs = append(errs, removeDirect(g, hands, owner))
		}
		errs = append(errs, hands.ReleaseOwner(owner))
	}
	errs = append(errs, grouplock.Tidy(cfg.RunDir))
	// Of a guard the interface was the end, but for a table of nftables.
	g, err := guards()
	if err == nil {
		err = errors.Join(g.Sweep(), accept.Sweep(), g.Close())
	}
	return errors.Join(append(errs, err)...)
}

// leftover is the interface that a dead or stuck instance has left; nil without
// an error: there is none.
func leftover(hands *vmacif.Hands, name, owner string) (*vmacif.Iface, error) {
	if name == "" {
		return nil, nil
	}
	iface, err := hands.Leftover(name, owner)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, vmacif.ErrOthers) {
		return nil, nil
	}
	return iface, err
}

// orphans are those of a dead instance's virtual routers that no other instance has
// taken up since: the interface would be another's by now, and so would the word.
func orphans(hands *vmacif.Hands, routers []grouplock.Identity, owner string) []grouplock.Identity {
	return slices.DeleteFunc(slices.Clone(routers), func(id grouplock.Identity) bool {
		if id.VMAC == "" {
			return false
		}
		_, err := hands.Leftover(id.VMAC, owner)
		return errors.Is(err, vmacif.ErrOthers)
	})
}

// strip removes the virtual addresses that a dead or stuck instance has left, on its
// interfaces or on parents: it ends the service, in microseconds.
func strip(hands *vmacif.Hands, owner string, routers []grouplock.Identity) error {
	errs := []error{hands.StripDirect(owner)}
	for _, id := range routers {
		iface, err := leftover(hands, id.VMAC, owner)
		if iface != nil {
			err = iface.RemoveAddrs()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// resign says priority 0 for the virtual routers of a dead MASTER, at these times.
// What comes after the first word, and is awaited by nobody, is done by then.
func resign(routers []grouplock.Identity, times []time.Duration, then func() error) error {
	var errs []error
	out, err := lan.OpenOnce()
	if err != nil {
		return errors.Join(err, then())
	}
	defer out.Close()
	began := time.Now()
	for i, after := range times {
		time.Sleep(after - time.Since(began))
		for _, id := range routers {
			if words := id.Frames(); len(words) > 0 {
				errs = append(errs, out.Send(id.Parent, words...))
			}
		}
		if i == 0 {
			errs = append(errs, then())
		}
	}
	return errors.Join(errs...)
}

// lastWords are when priority 0 is said for a process that has died: as its
// siblings would, if it had any. Nobody wants to wait for a tenth of a long interval.
func lastWords(dead *grouplock.Member) []time.Duration {
	interval := time.Second
	if len(dead.Facts) > 0 {
		interval = min(interval, time.Duration(dead.Facts[0].Interval))
	}
	return siblings.Bury(siblings.Sibling{Realised: dead.Realised}, siblings.Machine{Word: dead.Realised, Interval: interval}).Words
}

func releaseDead(cfg config.Config, hands *vmacif.Hands, guards func() (*lease.Guards, error), instance string, log *slog.Logger) error {
	corpse, err := grouplock.TakeOver(cfg.RunDir, instance)
	switch {
	case errors.Is(err, grouplock.ErrBusy), errors.Is(err, grouplock.ErrAlive), errors.Is(err, grouplock.ErrClean):
		return nil // somebody cleans up, or has
	case err != nil:
		return fmt.Errorf("release %s: %w", instance, err)
	}
	log.Warn(fmt.Sprintf("%s (pid %d) died: cleaning up after it", instance, corpse.Member.Pid))
	var errs []error
	// The addresses first: what claims them no more may then say so. The guard
	// comes after the first word, because nobody renews it any more, and without
	// an address nothing is served that it could let pass.
	owner := ownerName(cfg.RunDir, instance)
	routers := orphans(hands, corpse.Member.Routers, owner)
	errs = append(errs, strip(hands, owner, routers))
	if words := lastWords(&corpse.Member); len(words) > 0 {
		errs = append(errs, resign(routers, words, func() error {
			g, err := guards()
			if err != nil {
				return err
			}
			return silence(g, hands, owner, routers)
		}))
	}
	if g, err := guards(); err != nil {
		corpse.GiveBack()
		errs = append(errs, err)
	} else {
		errs = append(errs, buryFiles(g, hands, cfg.RunDir, corpse))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("release %s: %w", instance, err)
	}
	return nil
}
