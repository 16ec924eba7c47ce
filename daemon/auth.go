package daemon

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/lan"
	"vrrpd/vrrp"
)

// auth is the authentication of one virtual router. The loop owns it; what judges the
// peers' adverts (rules.Auth, marks) is under the parent's mu.
type auth struct {
	signer   *vrrp.Auth
	config   vrrp.AuthConfig
	sequence vrrp.Sequence
	ipID     uint16        // counts 1, 2, ... (AH): the kernel must not fill it in
	heard    atomic.Uint64 // the highest number that was accepted
	epoch    uint64        // the epoch in which we served last
	lastWord *[2]frame     // nil: not needed; priority 0, numbered with the reserve; [1] in version 2 beside it
	file     *authFile     // nil: nothing is numbered
}

// wallClock is the time of day as trailers state it.
func wallClock() vrrp.Stamp {
	now := time.Now()
	return vrrp.StampOf(now.Unix(), int64(now.Nanosecond()))
}

// unsigned is for all without authentication: it is never written to.
var unsigned = new(vrrp.Auth)

// newAuth prepares one Auth for what is said and one for what is heard.
func newAuth(c vrrp.AuthConfig) (signer, judge *vrrp.Auth, err error) {
	if c.Kind == vrrp.NoAuth {
		return unsigned, unsigned, nil
	}
	if signer, err = vrrp.NewAuth(c); err == nil {
		judge, err = vrrp.NewAuth(c)
	}
	return signer, judge, err
}

// prepareAuth reads the keys of every virtual router. It changes nothing on the
// machine; an error is a config.UsageError, so that a wrong key never lets a router
// speak without one.
func (d *Daemon) prepareAuth() error {
	for _, r := range d.routers {
		c, err := r.cfg.AuthConfig(readKeyFile)
		if err != nil {
			return err
		}
		if err := r.authenticate(c); err != nil {
			return err
		}
	}
	return nil
}

// authenticate prepares the authentication of a router that is not at work yet.
func (r *router) authenticate(c vrrp.AuthConfig) (err error) {
	if r.auth.signer, r.rules.Auth, err = newAuth(c); err != nil {
		return config.UsageError(fmt.Sprintf("-a %s: %v", c.Kind, err))
	}
	r.auth.config = c
	r.keepMarks()
	return nil
}

// keepMarks makes room, once, for the numbers of peers, if their adverts have any.
func (r *router) keepMarks() {
	switch kind := r.auth.signer.Kind(); {
	case r.marks != nil, kind != vrrp.HeaderAuth && kind != vrrp.TrailerAuth:
	default:
		r.marks = new(vrrp.Marks)
		r.rules.Marks = r.marks
	}
}

// remember continues the numbering where the last process of this instance stopped.
// The instance's lock is held.
func (d *Daemon) remember(later func(func())) error {
	later(func() {
		for _, r := range d.routers {
			r.closeAuth()
		}
	})
	for _, r := range d.routers {
		if err := d.rememberNumbers(r); err != nil {
			return err
		}
	}
	return nil
}

// rememberNumbers does so for one router.
func (d *Daemon) rememberNumbers(r *router) error {
	a := &r.auth
	switch a.signer.Kind() {
	case vrrp.HeaderAuth, vrrp.TrailerAuth:
	default:
		return nil
	}
	path := filepath.Join(d.cfg.RunDir, instanceName(*r.cfg)+".auth")
	file, state, damage, err := openAuthFile(path, func(err error) {
		d.log.Error(err.Error()+": after a restart an old advert could be taken for new, or ours be refused", d.about(r)...)
	})
	if err != nil {
		return err
	}
	if damage != "" {
		d.log.Warn(damage, d.about(r)...)
	}
	if state.scheme != a.signer.Kind() || state.tag != keyTag(a.config) {
		state = authState{} // another key: another numbering
	}
	*r.marks = state.marks
	a.file = file
	a.signer.Begin(&a.sequence, state.reserve, wallClock())
	for _, sequence := range r.marks.All() {
		a.signer.Heard(&a.sequence, sequence)
	}
	state.scheme, state.tag = a.signer.Kind(), keyTag(a.config)
	file.keep(func(s *authState) { *s = state })
	go file.run()
	r.closeAuth = func() {
		if err := file.close(); err != nil {
			d.log.Error("cannot close "+path, d.about(r, "err", err)...)
		}
	}
	return nil
}

// keyTag tells one key of AH from another, without telling the key. The numbers of a
// trailer are those of a clock and outlive its keys.
func keyTag(c vrrp.AuthConfig) (tag [8]byte) {
	if c.Kind == vrrp.HeaderAuth {
		mac := hmac.New(sha256.New, c.Key)
		mac.Write([]byte("vrrpd numbers"))
		copy(tag[:], mac.Sum(nil))
	}
	return tag
}

// sign numbers and signs an advert of the router for being sent now: its frames for all
// destinations, which have one number.
func (r *router) sign(frames [][]byte) error {
	a := &r.auth
	now := wallClock()
	if w := r.parent.d.board.Load(); w.State() == election.Master && w.Epoch() != a.epoch {
		// Since we served last, a sibling may have said our last word for us.
		a.epoch = w.Epoch()
		a.signer.Begin(&a.sequence, a.sequence.Reserve, now)
	}
	a.signer.Heard(&a.sequence, a.heard.Load())
	n, err := a.signer.Next(&a.sequence, now)
	if err != nil {
		return fmt.Errorf("advert on %s: %w", r.cfg.Interface, err)
	}
	r.number(frames, n)
	if a.signer.Spent(&a.sequence, now) {
		r.reserve(now)
		r.parent.d.identityChanged(r)
	}
	return nil
}

// number signs the frames of an advert in place.
func (r *router) number(frames [][]byte, n uint64) {
	a := &r.auth
	switch a.signer.Kind() {
	case vrrp.HeaderAuth:
		if a.ipID++; a.ipID == 0 {
			a.ipID = 1
		}
		for _, f := range frames {
			lan.SetID(f, a.ipID)
			a.signer.SignPacket(lan.IPPacket(f), uint32(n))
		}
	case vrrp.TrailerAuth:
		for i, f := range frames {
			a.signer.SignPayload(lan.Payload(f), r.source, r.to[i], vrrp.Stamp(n))
		}
	}
}

// reserve takes numbers in advance, so that a process that comes after this one
// begins behind them.
func (r *router) reserve(now vrrp.Stamp) {
	n := r.auth.signer.Renew(&r.auth.sequence, now)
	if r.auth.file != nil {
		r.auth.file.keep(func(s *authState) { s.reserve = n })
	}
}

// lastWord is the priority 0 that others say when this process is dead, and the one of
// version 2 that follows it (nil: none). With a number it is signed in advance, ahead of
// everything that this process will have sent until it is signed anew.
func (r *router) lastWord() (word, beside []byte, err error) {
	a := &r.auth
	if !a.signer.Numbered() {
		f, err := r.ready(0)
		if err != nil || !r.cfg.Beside2 {
			return f.all(), nil, err
		}
		second, err := r.ready2(0)
		return f.all(), second.all(), err
	}
	if a.lastWord == nil {
		a.lastWord = new([2]frame)
	}
	if err := r.build(&a.lastWord[0], r.cfg.Version, 0); err != nil {
		return nil, nil, err
	}
	if a.sequence.Reserve == 0 {
		r.reserve(wallClock())
	}
	if !r.cfg.Beside2 {
		r.number(a.lastWord[0].parts, a.sequence.Reserve)
		return a.lastWord[0].bytes, nil, nil
	}
	if err := r.build(&a.lastWord[1], 2, 0); err != nil {
		return nil, nil, err
	}
	r.number(a.lastWord[0].parts, a.sequence.Reserve-1) // a trailer's, of which thousands are reserved
	r.number(a.lastWord[1].parts, a.sequence.Reserve)
	return a.lastWord[0].bytes, a.lastWord[1].bytes, nil
}

// noteAuth keeps what an advert of a peer has proven, and counts and reports what is
// odd about it. Called under parent.mu.
func (p *parent) noteAuth(r *router, a *vrrp.Advert, src note, drop vrrp.Drop) {
	switch {
	case r.rules.Auth.Kind() == vrrp.NoAuth || r.rules.Auth.Kind() == vrrp.PasswordAuth:
	case a.Signed && drop != vrrp.DropAuthReplay:
		if r.auth.heard.Load() < a.Sequence {
			r.auth.heard.Store(a.Sequence)
		}
		if r.auth.file != nil {
			r.auth.file.keepMarks(r.marks)
		}
	case drop == vrrp.DropNone:
		r.received.unsigned++
	}
	if drop == vrrp.DropAuthType && a.AuthType > vrrp.AuthHeader {
		r.received.invalidAuthType++
	}
	if drop == vrrp.DropNone && a.ClockDiffers {
		src.what = clockDiffers
		p.note(src, r)
	}
}

// reloadKeys reads the keys' files again (SIGHUP). A mistake in one changes nothing.
// The worker reads: a file system may hang.
func (d *Daemon) reloadKeys(done func(string, error)) {
	routers := make([]config.Router, len(d.routers)) // what may change is the loop's
	for i, r := range d.routers {
		routers[i] = *r.cfg
	}
	d.work(func() {
		configs, err := make([]vrrp.AuthConfig, len(routers)), error(nil)
		for i := range routers {
			c, e := routers[i].AuthConfig(readKeyFile)
			configs[i], err = c, errors.Join(err, e)
		}
		d.inbox.call(func() { done("the keys were read again", d.takeKeys(configs, err)) })
	})
}

// takeKeys puts new keys in force between two adverts.
func (d *Daemon) takeKeys(configs []vrrp.AuthConfig, err error) error {
	signers, judges := make([]*vrrp.Auth, len(configs)), make([]*vrrp.Auth, len(configs))
	for i := 0; i < len(configs) && err == nil; i++ {
		signers[i], judges[i], err = newAuth(configs[i])
	}
	if err != nil {
		d.log.Error("the keys stay as they are: "+err.Error(), d.aboutMachine()...)
		return fmt.Errorf("the keys stay as they are: %w", err)
	}
	for i, r := range d.routers {
		d.takeKey(r, configs[i], signers[i], judges[i])
	}
	return nil
}

// takeKey puts new keys of a router in force.
func (d *Daemon) takeKey(r *router, c vrrp.AuthConfig, signer, judge *vrrp.Auth) {
	a := &r.auth
	a.config, a.signer = c, signer
	r.forgetFrames()
	r.parent.mu.Lock()
	r.rules.Auth = judge
	r.keepMarks()
	r.parent.mu.Unlock()
	if a.file != nil {
		a.file.keep(func(s *authState) { s.tag = keyTag(a.config) })
	}
	d.identityChanged(r)
	text := "the key was read again"
	if a.config.Kind == vrrp.TrailerAuth {
		text = fmt.Sprintf("the keys were read again: %v are accepted, %d signs", keyIDs(a.config), a.config.Active)
	}
	d.log.Info(text, d.about(r)...)
}

func keyIDs(c vrrp.AuthConfig) []int {
	var ids []int
	for _, k := range c.Keys {
		ids = append(ids, int(k.ID))
	}
	return ids
}

// keysInFiles reports whether there is anything to reload.
func (d *Daemon) keysInFiles() bool {
	return slices.ContainsFunc(d.routers, func(r *router) bool {
		a := r.cfg.Auth
		return a.KeySet != "" || slices.ContainsFunc(a.Keys, func(k config.Key) bool { return k.File != "" })
	})
}

// authStatus is what may be shown of the authentication; nil: there is none.
func authStatus(c vrrp.AuthConfig) *control.Authentication {
	switch c.Kind {
	case vrrp.NoAuth:
		return nil
	case vrrp.HeaderAuth:
		return &control.Authentication{Type: c.Kind.String(), ICV: c.ICV.String()}
	case vrrp.TrailerAuth:
		return &control.Authentication{
			Type: c.Kind.String(), Mode: c.Mode.String(), ActiveKey: c.Active, Keys: keyIDs(c), Replay: c.Replay.String(), Window: c.Window,
		}
	}
	return &control.Authentication{Type: c.Kind.String()}
}

// authCounters adds the errors of authentication to the statistics.
func authCounters(s *control.Statistics, c *vrrp.Counters, received *receivedCounters) {
	s.AuthFailures, s.ReplayErrors = c[vrrp.DropAuth], c[vrrp.DropAuthReplay]
	s.InvalidAuthType = received.invalidAuthType
	s.AuthTypeMismatch = c[vrrp.DropAuthType] - received.invalidAuthType
	s.AuthMissing, s.AuthMalformed = c[vrrp.DropAuthMissing], c[vrrp.DropAuthMalformed]
	s.AuthUnknownKey, s.AuthStale = c[vrrp.DropAuthUnknownKey], c[vrrp.DropAuthStale]
	s.AuthUnsigned = received.unsigned
}
