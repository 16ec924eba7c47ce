package child

import (
	"slices"
	"testing"
)

func TestLookupIdentity(t *testing.T) {
	root, err := LookupIdentity("root")
	if err != nil || root.UID != 0 || root.GID != 0 || root.Name != "root" || root.Home != "/root" || !slices.Contains(root.Groups, 0) {
		t.Errorf("root: %+v, %v", root, err)
	}
	if byNumber, err := LookupIdentity("0"); err != nil || byNumber.Name != "root" {
		t.Errorf("0: %+v, %v", byNumber, err)
	}
	for _, name := range []string{"no-such-user", "4294967294", "4294967296", "-1", "ro:ot"} {
		if id, err := LookupIdentity(name); err == nil || err.Error() != "there is no user "+name+" on this machine" {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}

func TestIdentityEnviron(t *testing.T) {
	base := []string{"PATH=/bin", "HOME=/root", "USER=root", "LOGNAME=root", "MAIL=/var/mail/root", "XDG_RUNTIME_DIR=/run/user/0", "LANG=C"}
	id := &Identity{Name: "vrrp", Home: "/nonexistent"}
	want := []string{"PATH=/bin", "LANG=C", "USER=vrrp", "LOGNAME=vrrp", "HOME=/nonexistent"}
	if got := id.environ(base); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, same := range []*Identity{nil, {UID: 1}} {
		if got := same.environ(base); !slices.Equal(got, base) {
			t.Errorf("%+v: got %q", same, got)
		}
	}
}
