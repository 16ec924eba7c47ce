package vrrp

import (
	"fmt"
	"slices"
)

// AuthKind is how the adverts of a virtual router are authenticated.
type AuthKind uint8

const (
	// NoAuth: not at all, the only way that RFC 3768 and RFC 9568 know.
	NoAuth AuthKind = iota
	// PasswordAuth is a password in clear text (RFC 2338 section 5.3.6, type 1;
	// version 2). It tells two virtual routers with one VRID apart, and nothing
	// from an attacker: everybody on the LAN reads it.
	PasswordAuth
	// HeaderAuth is the IP Authentication Header with HMAC-MD5-96 (type 2; version
	// 2, IPv4). Who does not know the key cannot speak; but keys are short and MD5
	// is old, so it is for peers that have nothing better.
	HeaderAuth
	// TrailerAuth is keepalived's HMAC-SHA256 behind the message (keepalived 2.4.2;
	// draft-cassen-vrrp-auth-hmac), in both versions and families.
	TrailerAuth
)

func (k AuthKind) String() string {
	switch k {
	case NoAuth:
		return "none"
	case PasswordAuth:
		return "pass"
	case HeaderAuth:
		return "ah"
	case TrailerAuth:
		return "hmac"
	}
	return "unknown"
}

// The authentication types on the wire (RFC 2338 section 5.3.6). A version 2
// advert with a trailer has AuthNone.
const (
	AuthNone     = 0
	AuthPassword = 1
	AuthHeader   = 2
)

// AuthMode is how strict TrailerAuth is; the others are always Enforce. A trailer
// that is there is verified in every mode.
type AuthMode uint8

const (
	// Enforce signs, and drops what is not signed.
	Enforce AuthMode = iota
	// Permissive signs, and accepts what is not signed.
	Permissive
	// ReceiveOnly does not sign: peers that do not know the trailer drop what has
	// one. It accepts what is not signed.
	ReceiveOnly
)

func (m AuthMode) String() string {
	switch m {
	case Enforce:
		return "enforce"
	case Permissive:
		return "permissive"
	case ReceiveOnly:
		return "receive-only"
	}
	return "unknown"
}

// ReplayRule is what makes a trailer too old.
type ReplayRule uint8

const (
	// ByTime wants the sender's clock within the window of ours, and its numbers to
	// rise. A mark that is outside the window is forgotten, so that clocks may be
	// set right.
	ByTime ReplayRule = iota
	// Monotonic wants the numbers to rise, and nothing of the clocks. A sender whose
	// clock once ran far ahead is not heard until its clock has come there again.
	Monotonic
)

func (r ReplayRule) String() string {
	switch r {
	case ByTime:
		return "time"
	case Monotonic:
		return "monotonic"
	}
	return "unknown"
}

// ICVForm says what of the IP header the integrity check value of the
// Authentication Header covers. Both forms are accepted, one is sent.
type ICVForm uint8

const (
	// ICVKeepalived covers the TTL of a multicast packet, contrary to RFC 2402.
	ICVKeepalived ICVForm = iota
	// ICVRFC2402 leaves the TTL out (RFC 2402 section 3.3.3.1.1.1: mutable).
	ICVRFC2402
)

func (f ICVForm) String() string {
	switch f {
	case ICVKeepalived:
		return "keepalived"
	case ICVRFC2402:
		return "rfc2402"
	}
	return "unknown"
}

// The limits of what AuthConfig may hold.
const (
	PasswordLen   = authDataLen // the longest password, bytes
	MaxHeaderKey  = 64          // bytes
	MinTrailerKey = 32          // bytes
	MaxTrailerKey = 64          // bytes
	MaxWindow     = 300         // s
)

// TrailerKey is one of the keys of TrailerAuth: the same under the same id on all
// machines.
type TrailerKey struct {
	ID  uint8 // 1..255
	Key []byte
}

// AuthConfig is what NewAuth needs to know. What does not belong to Kind is not
// looked at.
type AuthConfig struct {
	Kind AuthKind

	Key []byte  // PasswordAuth: 1..8 bytes; HeaderAuth: 1..64, of which keepalived has 8
	ICV ICVForm // HeaderAuth, to send

	Keys   []TrailerKey // TrailerAuth: those to accept
	Active uint8        // the id of the one to sign with
	Mode   AuthMode
	Replay ReplayRule
	Window uint32 // ByTime: how far clocks may differ, 1..300 s
}

// Auth signs the adverts of one virtual router, or judges those of its peers. It
// holds prepared hash states and scratch, so it belongs to one goroutine: who does
// both on two has two of them. It holds no state from one packet to the next; what
// does is Marks and Sequence, which the caller owns.
type Auth struct {
	config   AuthConfig
	password [authDataLen]byte
	header   digest
	packet   [ipv4Len + headerAuthLen]byte // scratch of icv
	keys     []digest                      // as config.Keys
	active   int
}

// NewAuth prepares the keys. Its errors never contain one.
func NewAuth(c AuthConfig) (*Auth, error) {
	a := &Auth{config: c}
	switch c.Kind {
	case NoAuth:
	case PasswordAuth:
		if len(c.Key) == 0 || len(c.Key) > PasswordLen {
			return nil, fmt.Errorf("password of %d bytes, must be 1 to %d", len(c.Key), PasswordLen)
		}
		copy(a.password[:], c.Key)
	case HeaderAuth:
		if len(c.Key) == 0 || len(c.Key) > MaxHeaderKey {
			return nil, fmt.Errorf("key of %d bytes, must be 1 to %d", len(c.Key), MaxHeaderKey)
		}
		if c.ICV > ICVRFC2402 {
			return nil, fmt.Errorf("unknown form %d of the ICV", c.ICV)
		}
		a.header = newMD5(c.Key)
	case TrailerAuth:
		if err := a.prepareTrailer(); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("unknown kind %d of authentication", c.Kind)
	}
	return a, nil
}

func (a *Auth) prepareTrailer() error {
	c := &a.config
	c.Keys = slices.Clone(c.Keys)
	a.active = -1
	for i, k := range c.Keys {
		switch {
		case k.ID == 0:
			return fmt.Errorf("key id 0, must be 1 to 255")
		case len(k.Key) < MinTrailerKey || len(k.Key) > MaxTrailerKey:
			return fmt.Errorf("key %d has %d bytes, must be %d to %d", k.ID, len(k.Key), MinTrailerKey, MaxTrailerKey)
		case slices.ContainsFunc(c.Keys[:i], func(o TrailerKey) bool { return o.ID == k.ID }):
			return fmt.Errorf("key %d is there twice", k.ID)
		}
		if k.ID == c.Active {
			a.active = i
		}
		a.keys = append(a.keys, newSHA256(k.Key))
	}
	switch {
	case a.active < 0:
		return fmt.Errorf("the active key %d is none of the keys", c.Active)
	case c.Mode > ReceiveOnly:
		return fmt.Errorf("unknown mode %d", c.Mode)
	case c.Replay > Monotonic:
		return fmt.Errorf("unknown replay rule %d", c.Replay)
	case c.Replay == ByTime && (c.Window == 0 || c.Window > MaxWindow):
		return fmt.Errorf("window of %d s, must be 1 to %d", c.Window, MaxWindow)
	}
	return nil
}

// Kind is that of the configuration; NoAuth for a nil Auth.
func (a *Auth) Kind() AuthKind {
	if a == nil {
		return NoAuth
	}
	return a.config.Kind
}

// Numbered reports whether what is sent carries a sequence number, so that Sign has
// to be called for every packet.
func (a *Auth) Numbered() bool {
	return a.Kind() == HeaderAuth || a.signsTrailer()
}

// Overhead is by how many bytes an IP payload is longer than Size.
func (a *Auth) Overhead() int {
	switch {
	case a.Kind() == HeaderAuth:
		return headerAuthLen
	case a.signsTrailer():
		return trailerLen
	}
	return 0
}

func (a *Auth) signsTrailer() bool {
	return a.Kind() == TrailerAuth && a.config.Mode != ReceiveOnly
}

// wireType is the authentication type that adverts of version 2 have.
func (a *Auth) wireType() uint8 {
	switch a.Kind() {
	case PasswordAuth:
		return AuthPassword
	case HeaderAuth:
		return AuthHeader
	}
	return AuthNone
}
