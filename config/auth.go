package config

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"vrrpd/vrrp"
)

// Auth is how the adverts of a virtual router are authenticated. The zero value is
// not at all.
type Auth struct {
	Kind vrrp.AuthKind
	// Keys are those given: one for pass and ah, any number for hmac.
	Keys []Key
	// KeySet is a file with all keys of hmac, one of them marked as active; "": Keys.
	KeySet string
	// Active is the id of the key that hmac signs with.
	Active uint8
	Mode   vrrp.AuthMode   // hmac
	Replay vrrp.ReplayRule // hmac
	Window uint32          // hmac, seconds; 0: three intervals, 5 s at least
	ICV    vrrp.ICVForm    // ah
}

// Key is a key on the command line, or the file that it is in.
type Key struct {
	ID     uint8 // hmac only, 1..255
	Secret Secret
	File   string // absolute path; "": Secret is given
}

// Secret is a key. However it is printed, it does not show itself.
type Secret []byte

// Format serves every verb of package fmt; MarshalText is for slog and JSON.
func (Secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte("(key)")) }
func (Secret) MarshalText() ([]byte, error) { return []byte("(key)"), nil }

// setAuth never repeats the value: a misspelt one may still be the key.
func setAuth(f *form, as, value string) error {
	a := &f.router.Auth
	word, rest, _ := strings.Cut(value, "/")
	switch {
	case value == "none":
		*a = Auth{}
		return nil
	case (word == "pass" || word == "pw") && rest != "":
		return a.only(vrrp.PasswordAuth, as+" pass", rest)
	case word == "ah" && rest != "":
		return a.only(vrrp.HeaderAuth, as+" ah", rest)
	case word == "hmac" && rest != "":
		return a.addHMAC(as, rest)
	}
	return usagef("%s: authentication is none, pass/KEY, ah/KEY or hmac/ID:KEY", as)
}

// only makes one key all there is: the last option wins.
func (a *Auth) only(kind vrrp.AuthKind, as, text string) error {
	key, err := parseKey(as, text, kind)
	if err == nil {
		*a = Auth{Kind: kind, Keys: []Key{key}}
	}
	return err
}

// addHMAC reads ID:KEY, or @FILE for a file with several of them.
func (a *Auth) addHMAC(as, text string) error {
	if a.Kind != vrrp.TrailerAuth {
		*a = Auth{Kind: vrrp.TrailerAuth}
	}
	if strings.HasPrefix(text, "@") {
		if why := badFile(text[1:]); why != "" {
			return usagef("%s hmac: %s", as, why)
		}
		a.KeySet = text[1:]
		return nil
	}
	id, rest, ok := hmacID(text)
	if !ok {
		return usagef("%s hmac: a key is hmac/ID:KEY with an ID from 1 to 255, or hmac/@FILE", as)
	}
	key, err := parseKey(hmacName(as, id), rest, vrrp.TrailerAuth)
	if err != nil {
		return err
	}
	key.ID = id
	a.Keys = append(a.Keys, key)
	return nil
}

func hmacName(as string, id uint8) string { return as + " hmac/" + strconv.Itoa(int(id)) }

// hmacID cuts the id off ID:KEY.
func hmacID(text string) (id uint8, rest string, ok bool) {
	digits, rest, colon := strings.Cut(text, ":")
	n, number := whole(digits)
	return uint8(n), rest, colon && number && n >= 1 && n <= 255
}

// parseKey reads what stands after the kind: a file, or the key itself.
func parseKey(as, text string, kind vrrp.AuthKind) (Key, error) {
	if strings.HasPrefix(text, "@") {
		if why := badFile(text[1:]); why != "" {
			return Key{}, usagef("%s: %s", as, why)
		}
		return Key{File: text[1:]}, nil
	}
	secret, err := parseSecret(as, text, kind)
	return Key{Secret: secret}, err
}

func badFile(name string) string {
	switch {
	case !path.IsAbs(name):
		return "the file of a key needs its whole path, like @/etc/vrrpd/key"
	case strings.ContainsFunc(name, unprintable) || strings.ContainsAny(name, "\n\r\t"):
		return "a control character in the name of the key's file"
	}
	return ""
}

// parseSecret reads 0x and hexadecimal digits, or text, and checks the length that
// the kind wants.
func parseSecret(as, text string, kind vrrp.AuthKind) (Secret, error) {
	secret := Secret(text)
	if digits, isHex := strings.CutPrefix(text, "0x"); isHex {
		b, err := hex.DecodeString(digits)
		if err != nil {
			return nil, usagef("%s: what follows 0x has to be an even number of hexadecimal digits", as)
		}
		secret = b
	}
	low, high, hint := 1, vrrp.MaxHeaderKey, ""
	switch kind {
	case vrrp.PasswordAuth:
		high, hint = vrrp.PasswordLen, "; keepalived uses the first 8 of a longer one"
	case vrrp.TrailerAuth:
		low, high = vrrp.MinTrailerKey, vrrp.MaxTrailerKey
		if strings.HasPrefix(text, "hex:") || strings.HasPrefix(text, "file:") {
			return nil, usagef("%s: keepalived's hex: is written 0x here, and its file: is @", as)
		}
	}
	if len(secret) < low || len(secret) > high {
		return nil, usagef("%s: the key has %d bytes, and %d to %d are needed%s", as, len(secret), low, high, hint)
	}
	return secret, nil
}

func setAuthActive(f *form, as, value string) (err error) {
	f.auth.active, err = octet(as, value, "the id of a key is a whole number from 1 to 255")
	return err
}

func setAuthMode(f *form, as, value string) error {
	for m := vrrp.Enforce; m <= vrrp.ReceiveOnly; m++ {
		if m.String() == value {
			f.auth.mode = &m
			return nil
		}
	}
	return usagef("%s %s: the mode is enforce, permissive or receive-only", as, show(value))
}

func setAuthReplay(f *form, as, value string) error {
	for r := vrrp.ByTime; r <= vrrp.Monotonic; r++ {
		if r.String() == value {
			f.auth.replay = &r
			return nil
		}
	}
	return usagef("%s %s: what is too old is found out by time or monotonic", as, show(value))
}

func setAuthWindow(f *form, as, value string) error {
	n, ok := whole(value)
	if !ok || n < 1 || n > vrrp.MaxWindow {
		return usagef("%s %s: the window is a whole number of seconds from 1 to %d", as, show(value), vrrp.MaxWindow)
	}
	f.auth.window = uint32(n)
	return nil
}

func setAHICV(f *form, as, value string) error {
	for i := vrrp.ICVKeepalived; i <= vrrp.ICVRFC2402; i++ {
		if i.String() == value {
			f.auth.icv = &i
			return nil
		}
	}
	return usagef("%s %s: the integrity check value is keepalived's or rfc2402's", as, show(value))
}

// authOptions are the options beside -a, until it is known whether they fit.
type authOptions struct {
	active uint8
	window uint32
	mode   *vrrp.AuthMode
	replay *vrrp.ReplayRule
	icv    *vrrp.ICVForm
}

// finish puts the options where they belong, and refuses them where they do not.
func (o authOptions) finish(a *Auth) error {
	isHMAC := a.Kind == vrrp.TrailerAuth
	for _, x := range []struct {
		given, fits bool
		option, of  string
	}{
		{o.active != 0, isHMAC, "--auth-active", "hmac"},
		{o.mode != nil, isHMAC, "--auth-mode", "hmac"},
		{o.replay != nil, isHMAC, "--auth-replay", "hmac"},
		{o.window != 0, isHMAC, "--auth-window", "hmac"},
		{o.icv != nil, a.Kind == vrrp.HeaderAuth, "--ah-icv", "ah"},
	} {
		if x.given && !x.fits {
			return usagef("%s: it is for -a %s only; leave it away, or give -a %s", x.option, x.of, x.of)
		}
	}
	a.Active, a.Window = o.active, o.window
	if o.mode != nil {
		a.Mode = *o.mode
	}
	if o.replay != nil {
		a.Replay = *o.replay
	}
	if o.icv != nil {
		a.ICV = *o.icv
	}
	if isHMAC && a.Active == 0 && len(a.Keys) == 1 && a.KeySet == "" {
		a.Active = a.Keys[0].ID
	}
	return nil
}

// validate reports the first thing that is wrong with what is known without the
// files of the keys.
func (a Auth) validate(version uint8) error {
	switch {
	case a.Kind > vrrp.TrailerAuth:
		return usagef("authentication kind %d: there is no such kind", a.Kind)
	case a.Kind == vrrp.NoAuth:
		return nil
	case a.Kind != vrrp.TrailerAuth && version != 2:
		return usagef("-a %s: VRRPv3 knows no such authentication; use -a hmac/ID:KEY, or VRRPv2 (whole seconds)", a.Kind)
	case a.Kind != vrrp.TrailerAuth && len(a.Keys) != 1:
		return usagef("-a %s: one key is needed", a.Kind)
	case a.Kind != vrrp.TrailerAuth:
		return nil
	case a.KeySet != "" && len(a.Keys) > 0:
		return usagef("-a hmac/@%s: there all keys are in that file; leave the other -a away", a.KeySet)
	case a.KeySet != "" && a.Active != 0:
		return usagef("--auth-active %d: with -a hmac/@%s the file marks the active key with *; leave it away", a.Active, a.KeySet)
	case a.KeySet != "":
		return nil
	}
	return checkIDs(a.Keys, a.Active)
}

// checkIDs: each id once, and one of them to sign with.
func checkIDs(keys []Key, active uint8) error {
	for i, k := range keys {
		if slices.ContainsFunc(keys[:i], func(o Key) bool { return o.ID == k.ID }) {
			return usagef("-a hmac/%d: given twice; each id has one key", k.ID)
		}
	}
	switch {
	case active == 0:
		return usagef("--auth-active ID: of several keys, say which one to sign with")
	case !slices.ContainsFunc(keys, func(k Key) bool { return k.ID == active }):
		return usagef("--auth-active %d: there is no -a hmac/%d:KEY", active, active)
	}
	return nil
}

// AuthConfig returns what package vrrp needs, with every key in it. read returns the
// content of a key's file, or an error that is fit for the user; it is called each
// time, so that a reload gets new keys. Every error is a UsageError.
func (r Router) AuthConfig(read func(file string) ([]byte, error)) (vrrp.AuthConfig, error) {
	a := r.Auth
	c := vrrp.AuthConfig{Kind: a.Kind, ICV: a.ICV, Mode: a.Mode, Replay: a.Replay, Window: a.Window, Active: a.Active}
	if a.Kind == vrrp.NoAuth {
		return c, nil
	}
	if c.Window == 0 {
		c.Window = min(max(3*uint32(r.Interval/time.Second), 5), vrrp.MaxWindow)
	}
	keys := a.Keys
	if a.KeySet != "" {
		text, err := read(a.KeySet)
		if err != nil {
			return c, usagef("-a hmac/@%s: %v", a.KeySet, err)
		}
		if keys, c.Active, err = parseKeySet("-a hmac/@"+a.KeySet, text); err != nil {
			return c, err
		}
	}
	for _, k := range keys {
		as := "-a " + a.Kind.String()
		if a.Kind == vrrp.TrailerAuth {
			as = hmacName("-a", k.ID)
		}
		secret := k.Secret
		if k.File != "" {
			as += " @" + k.File
			text, err := read(k.File)
			if err != nil {
				return c, usagef("%s: %v", as, err)
			}
			if secret, err = parseSecret(as, strings.TrimRight(string(text), "\r\n"), a.Kind); err != nil {
				return c, err
			}
		}
		if a.Kind == vrrp.TrailerAuth {
			c.Keys = append(c.Keys, vrrp.TrailerKey{ID: k.ID, Key: bytes.Clone(secret)})
		} else {
			c.Key = bytes.Clone(secret)
		}
	}
	return c, nil
}

// parseKeySet reads a file of keys: ID:KEY on each line, an asterisk before the one
// to sign with (not needed for a single one), # before a comment.
func parseKeySet(as string, text []byte) (keys []Key, active uint8, err error) {
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		entry, marked := strings.CutPrefix(line, "*")
		id, rest, ok := hmacID(entry)
		if !ok {
			return nil, 0, usagef("%s line %d: a line is ID:KEY with an ID from 1 to 255, *ID:KEY for the active key", as, n)
		}
		secret, err := parseSecret(as+" line "+strconv.Itoa(n), rest, vrrp.TrailerAuth)
		if err != nil {
			return nil, 0, err
		}
		keys = append(keys, Key{ID: id, Secret: secret})
		if marked && active != 0 {
			return nil, 0, usagef("%s line %d: two keys are marked with *; only one is the active one", as, n)
		}
		if marked {
			active = id
		}
	}
	switch {
	case len(keys) == 0:
		return nil, 0, usagef("%s: there is no key in it", as)
	case active == 0 && len(keys) > 1:
		return nil, 0, usagef("%s: of several keys, mark the one to sign with: *ID:KEY", as)
	case active == 0:
		active = keys[0].ID
	}
	return keys, active, checkIDs(keys, active)
}

// HideKeys returns the arguments with every key that stands in them replaced by x, as
// long as it was: what a list of processes may show.
func HideKeys(args []string) []string {
	table := rows()
	grammar := Grammar{Options: make([]Option, len(table))}
	for i, r := range table {
		grammar.Options[i] = r.Option
	}
	hidden := slices.Clone(args)
	given, _, err := grammar.Parse(args)
	if err != nil {
		return hidden // and nothing will be done with them
	}
	for _, g := range given {
		if table[g.Option].Long != "auth" {
			continue
		}
		key := keyIn(g.Value)
		if key == "" {
			continue
		}
		for i, arg := range args {
			if arg == g.Value || strings.HasPrefix(arg, "-") && strings.HasSuffix(arg, g.Value) {
				hidden[i] = arg[:len(arg)-len(key)] + strings.Repeat("x", len(key))
			}
		}
	}
	return hidden
}

// keyIn is the part of an -a value that has to stay secret.
func keyIn(value string) string {
	word, key, _ := strings.Cut(value, "/")
	if word == "hmac" {
		if _, rest, ok := strings.Cut(key, ":"); ok {
			key = rest
		}
	}
	if strings.HasPrefix(key, "@") {
		return ""
	}
	return key
}
