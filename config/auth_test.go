package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"vrrpd/vrrp"
)

const (
	authBase = "-i eth0 -v 51 10.16.1.200 "
	long     = "hunter2-hunter2-hunter2-hunter2-hunter2" // 39 bytes
)

// files is what a test's key files contain.
type files map[string]string

func (f files) read(name string) ([]byte, error) {
	text, ok := f[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(text), nil
}

var someFiles = files{
	"/k/pass":  "s3cr3t51\r\n",
	"/k/hex":   "0x0001020304\n",
	"/k/long":  long + "\n",
	"/k/empty": "\n",
	"/k/set":   "# both machines\n\n1:" + long + "\n*2:0x" + strings.Repeat("ab", 32) + "\n",
	"/k/one":   "7:" + long,
	"/k/none":  "1:" + long + "\n2:" + long + "x\n",
	"/k/twice": "1:" + long + "\n*1:" + long + "x\n",
	"/k/stars": "*1:" + long + "\n*2:" + long + "x\n",
	"/k/junk":  "1:" + long + "\n" + long + "\n",
	"/k/short": "1:hunter2\n",
	"/k/blank": "# nothing\n",
}

func authOf(t *testing.T, line string) (vrrp.AuthConfig, error) {
	t.Helper()
	c, err := Parse(strings.Fields(authBase+line), nil)
	if err != nil {
		return vrrp.AuthConfig{}, err
	}
	return c.Routers[0].AuthConfig(someFiles.read)
}

func TestAuth(t *testing.T) {
	bytesOf := func(n int) []byte { return slices.Repeat([]byte{0xab}, n) }
	hmac := func(change func(*vrrp.AuthConfig)) vrrp.AuthConfig {
		c := vrrp.AuthConfig{Kind: vrrp.TrailerAuth, Active: 1, Window: 5, Keys: []vrrp.TrailerKey{{ID: 1, Key: []byte(long)}}}
		change(&c)
		return c
	}
	for line, want := range map[string]vrrp.AuthConfig{
		"":                              {},
		"-a none":                       {},
		"-a pass/s3cr3t51":              {Kind: vrrp.PasswordAuth, Key: []byte("s3cr3t51"), Window: 5},
		"-a pw/s3cr3t51":                {Kind: vrrp.PasswordAuth, Key: []byte("s3cr3t51"), Window: 5},
		"--auth=pass/a/b":               {Kind: vrrp.PasswordAuth, Key: []byte("a/b"), Window: 5},
		"-apass/0xabab":                 {Kind: vrrp.PasswordAuth, Key: bytesOf(2), Window: 5},
		"-a pass/0xABAB":                {Kind: vrrp.PasswordAuth, Key: bytesOf(2), Window: 5},
		"-a pass/@/k/pass":              {Kind: vrrp.PasswordAuth, Key: []byte("s3cr3t51"), Window: 5},
		"-a pass/@/k/hex":               {Kind: vrrp.PasswordAuth, Key: []byte{0, 1, 2, 3, 4}, Window: 5},
		"-a ah/" + long:                 {Kind: vrrp.HeaderAuth, Key: []byte(long), Window: 5},
		"-a ah/x --ah-icv rfc2402":      {Kind: vrrp.HeaderAuth, Key: []byte("x"), Window: 5, ICV: vrrp.ICVRFC2402},
		"-a ah/x -a none":               {}, // the last one wins
		"-a none -a pass/x -a ah/y":     {Kind: vrrp.HeaderAuth, Key: []byte("y"), Window: 5},
		"-a hmac/1:" + long:             hmac(func(*vrrp.AuthConfig) {}),
		"-a hmac/1:@/k/long":            hmac(func(*vrrp.AuthConfig) {}),
		"-a ah/y -a hmac/1:" + long:     hmac(func(*vrrp.AuthConfig) {}),
		"-a hmac/1:" + long + " -d 0.1": hmac(func(*vrrp.AuthConfig) {}),
		"-a hmac/1:" + long + " -d 9":   hmac(func(c *vrrp.AuthConfig) { c.Window = 27 }),
		"-a hmac/1:" + long + " -d 200": hmac(func(c *vrrp.AuthConfig) { c.Window = 300 }),
		"-a hmac/1:" + long + " --auth-mode receive-only --auth-replay monotonic --auth-window 300": hmac(func(c *vrrp.AuthConfig) {
			c.Mode, c.Replay, c.Window = vrrp.ReceiveOnly, vrrp.Monotonic, 300
		}),
		"-a hmac/1:" + long + " -a hmac/255:0x" + strings.Repeat("ab", 64) + " --auth-active 255": hmac(func(c *vrrp.AuthConfig) {
			c.Active, c.Keys = 255, append(c.Keys, vrrp.TrailerKey{ID: 255, Key: bytesOf(64)})
		}),
		"-a hmac/@/k/set": hmac(func(c *vrrp.AuthConfig) {
			c.Active, c.Keys = 2, append(c.Keys, vrrp.TrailerKey{ID: 2, Key: bytesOf(32)})
		}),
		"-a hmac/@/k/one --auth-mode permissive": hmac(func(c *vrrp.AuthConfig) {
			c.Active, c.Mode, c.Keys[0].ID = 7, vrrp.Permissive, 7
		}),
	} {
		got, err := authOf(t, line)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v\nwant %+v", line, got, err, want)
		}
		if want.Kind != vrrp.NoAuth {
			if _, err := vrrp.NewAuth(got); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
}

// Every error of a key names the culprit, and nothing of the key.
func TestAuthErrors(t *testing.T) {
	for line, want := range map[string]string{
		"-a hunter2":                              "-a: authentication is none, pass/KEY, ah/KEY or hmac/ID:KEY",
		"-a pass":                                 "-a: authentication is none, pass/KEY, ah/KEY or hmac/ID:KEY",
		"-a none/hunter2":                         "-a: authentication is none, pass/KEY, ah/KEY or hmac/ID:KEY",
		"-a pas/hunter2":                          "-a: authentication is none, pass/KEY, ah/KEY or hmac/ID:KEY",
		"-a pass/hunter2hunt":                     "-a pass: the key has 11 bytes, and 1 to 8 are needed; keepalived uses the first 8 of a longer one",
		"-a pass/0xhunter2":                       "-a pass: what follows 0x has to be an even number of hexadecimal digits",
		"-a pass/0x123":                           "-a pass: what follows 0x has to be an even number of hexadecimal digits",
		"-a pass/0x":                              "-a pass: the key has 0 bytes, and 1 to 8 are needed; keepalived uses the first 8 of a longer one",
		"--auth ah/0x":                            "--auth ah: the key has 0 bytes, and 1 to 64 are needed",
		"-a pass/@key":                            "-a pass: the file of a key needs its whole path, like @/etc/vrrpd/key",
		"-a pass/@/k/missing":                     "-a pass @/k/missing: file does not exist",
		"-a ah/@/k/empty":                         "-a ah @/k/empty: the key has 0 bytes, and 1 to 64 are needed",
		"-a pass/@/k/long":                        "-a pass @/k/long: the key has 39 bytes, and 1 to 8 are needed; keepalived uses the first 8 of a longer one",
		"-a pass/hunter2 -d 0.1":                  "-a pass: VRRPv3 knows no such authentication; use -a hmac/ID:KEY, or VRRPv2 (whole seconds)",
		"-a hmac/hunter2":                         "-a hmac: a key is hmac/ID:KEY with an ID from 1 to 255, or hmac/@FILE",
		"-a hmac/0:" + long:                       "-a hmac: a key is hmac/ID:KEY with an ID from 1 to 255, or hmac/@FILE",
		"-a hmac/256:" + long:                     "-a hmac: a key is hmac/ID:KEY with an ID from 1 to 255, or hmac/@FILE",
		"-a hmac/1:hunter2":                       "-a hmac/1: the key has 7 bytes, and 32 to 64 are needed",
		"-a hmac/1:0x" + strings.Repeat("ab", 65): "-a hmac/1: the key has 65 bytes, and 32 to 64 are needed",
		"-a hmac/1:hex:" + long:                   "-a hmac/1: keepalived's hex: is written 0x here, and its file: is @",
		"-a hmac/1:@/k/pass":                      "-a hmac/1 @/k/pass: the key has 8 bytes, and 32 to 64 are needed",
		"-a hmac/1:" + long + " -a hmac/1:" + long + "x": "-a hmac/1: given twice; each id has one key",
		"-a hmac/1:" + long + " -a hmac/2:" + long + "x": "--auth-active ID: of several keys, say which one to sign with",
		"-a hmac/1:" + long + " --auth-active 2":         "--auth-active 2: there is no -a hmac/2:KEY",
		"-a hmac/1:" + long + " --auth-active 0":         "--auth-active 0: the id of a key is a whole number from 1 to 255",
		"-a hmac/1:" + long + " --auth-mode strict":      "--auth-mode strict: the mode is enforce, permissive or receive-only",
		"-a hmac/1:" + long + " --auth-replay never":     "--auth-replay never: what is too old is found out by time or monotonic",
		"-a hmac/1:" + long + " --auth-window 301":       "--auth-window 301: the window is a whole number of seconds from 1 to 300",
		"-a hmac/@/k/set -a hmac/1:" + long:              "-a hmac/@/k/set: there all keys are in that file; leave the other -a away",
		"-a hmac/@/k/set --auth-active 1":                "--auth-active 1: with -a hmac/@/k/set the file marks the active key with *; leave it away",
		"-a hmac/@set":                                   "-a hmac: the file of a key needs its whole path, like @/etc/vrrpd/key",
		"-a hmac/@/k/missing":                            "-a hmac/@/k/missing: file does not exist",
		"-a hmac/@/k/none":                               "-a hmac/@/k/none: of several keys, mark the one to sign with: *ID:KEY",
		"-a hmac/@/k/twice":                              "-a hmac/1: given twice; each id has one key",
		"-a hmac/@/k/stars":                              "-a hmac/@/k/stars line 2: two keys are marked with *; only one is the active one",
		"-a hmac/@/k/junk":                               "-a hmac/@/k/junk line 2: a line is ID:KEY with an ID from 1 to 255, *ID:KEY for the active key",
		"-a hmac/@/k/short":                              "-a hmac/@/k/short line 1: the key has 7 bytes, and 32 to 64 are needed",
		"-a hmac/@/k/blank":                              "-a hmac/@/k/blank: there is no key in it",
		"-a ah/x --ah-icv none":                          "--ah-icv none: the integrity check value is keepalived's or rfc2402's",
		"-a pass/x --ah-icv rfc2402":                     "--ah-icv: it is for -a ah only; leave it away, or give -a ah",
		"-a pass/x --auth-mode enforce":                  "--auth-mode: it is for -a hmac only; leave it away, or give -a hmac",
		"--auth-window 5":                                "--auth-window: it is for -a hmac only; leave it away, or give -a hmac",
	} {
		_, err := authOf(t, line)
		if err == nil {
			t.Errorf("%s: accepted", line)
			continue
		}
		if err.Error() != want {
			t.Errorf("%s:\n got %s\nwant %s", line, err, want)
		}
		if usage := UsageError(""); !errors.As(err, &usage) {
			t.Errorf("%s: %T is not a UsageError", line, err)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the key is in %q", line, err)
		}
	}
}

// However a configuration is printed, the key is not in it.
func TestSecretsHide(t *testing.T) {
	c, err := Parse(strings.Fields(authBase+"-a hmac/1:"+long), nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(c.Routers[0].Auth.Keys[0].Secret) != long {
		t.Fatal("that is not the key")
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "config", c, "key", c.Routers[0].Auth.Keys[0].Secret)
	for _, out := range []string{string(text), log.String(), fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%[1]s %[1]x %[1]d %[1]q %[1]v %[1]b", c.Routers[0].Auth.Keys[0].Secret)} {
		if strings.Contains(out, "hunter2") || strings.Contains(out, "104 117 110 116") || strings.Contains(out, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("the key is in %s", out)
		}
	}
}

func TestHideKeys(t *testing.T) {
	for line, want := range map[string]string{
		"-a pass/hunter2":                "-a pass/xxxxxxx",
		"-apass/hunter2 -i eth0":         "-apass/xxxxxxx -i eth0",
		"-nsapw/hunter2":                 "-nsapw/xxxxxxx",
		"--auth=ah/hunter2":              "--auth=ah/xxxxxxx",
		"--aut ah/hunter2":               "--aut ah/hunter2", // ambiguous: refused anyway
		"--auth ah/0x00 1.2.3.4":         "--auth ah/xxxx 1.2.3.4",
		"-a hmac/1:hunter2 -a hmac/2:hi": "-a hmac/1:xxxxxxx -a hmac/2:xx",
		"-a hmac/1:@/k -a hmac/@/l":      "-a hmac/1:@/k -a hmac/@/l",
		"-a pass/@/etc/key -a none":      "-a pass/@/etc/key -a none",
		"--release -a pass/hunter2":      "--release -a pass/xxxxxxx",
		"-i eth0 -U hunter2":             "-i eth0 -U hunter2",
	} {
		args := strings.Fields(line)
		got := strings.Join(HideKeys(args), " ")
		if got != want || strings.Join(args, " ") != line {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

func TestReloadReadsAgain(t *testing.T) {
	c, err := Parse(strings.Fields(authBase+"-a hmac/@/k/one"), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := files{"/k/one": "1:" + long}
	first, err := c.Routers[0].AuthConfig(f.read)
	if err != nil {
		t.Fatal(err)
	}
	f["/k/one"] = "*2:" + long + "\n1:" + long
	second, err := c.Routers[0].AuthConfig(f.read)
	if err != nil || first.Active != 1 || second.Active != 2 || len(second.Keys) != 2 || second.Window != 5 {
		t.Errorf("%+v, then %+v, %v", first, second, err)
	}
	if r := c.Routers[0]; r.Interval != time.Second || r.Auth.Keys != nil {
		t.Errorf("%+v", r.Auth)
	}
}
