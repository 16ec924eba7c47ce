package daemon

import (
	"fmt"
	"net/netip"

	"vrrpd/config"
	"vrrpd/vrrp"
)

// VRRPv3 over IPv4 has two checksums in the field, and most routers accept only the one
// that they make themselves. Unless the user has chosen, we speak as the last router did
// that we believed: a BACKUP has heard its master, and a MASTER that meets a router that
// does not understand it hears that one become MASTER beside it, and answers at once in
// its own form.

// checksumForm is the form in which this router's adverts are sent.
func (r *router) checksumForm() vrrp.ChecksumForm {
	switch r.style.checksum {
	case config.ChecksumRFC9568:
		return vrrp.RFC9568
	case config.ChecksumRFC5798:
		return vrrp.RFC5798
	}
	return vrrp.ChecksumForm(r.peerForm.Load())
}

// learnChecksum takes over the form of an advert that was accepted. Called under mu.
func (p *parent) learnChecksum(r *router, a *vrrp.Advert, src netip.Addr) {
	if a.Version != 3 || r.rules.Family != vrrp.IPv4 || r.cfg.Checksum != config.ChecksumAuto || src == p.sources[0] {
		return
	}
	form := vrrp.RFC9568
	if a.LegacyChecksum {
		form = vrrp.RFC5798
	}
	if vrrp.ChecksumForm(r.peerForm.Swap(uint32(form))) == form {
		return
	}
	tell := !r.formTold // the first time is news, forged adverts in turn are not
	r.formTold = true
	p.d.inbox.call(func() {
		p.d.identityChanged(r)
		if tell {
			p.d.log.Info(fmt.Sprintf("%s makes its checksums as %s says, and ours are made so from now on, as its last one was (--checksum)", src, form), p.d.about(r)...)
		}
	})
}
