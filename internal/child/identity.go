package child

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"
)

// Identity is the user that programs run as.
type Identity struct {
	UID, GID uint32
	// Groups are the supplementary ones; nil: none.
	Groups []uint32
	// Name and Home are what a program finds in USER, LOGNAME and HOME; "": as
	// the daemon has it.
	Name, Home string
}

// LookupIdentity finds the user that programs shall run as, by name or number,
// with all of the user's groups: what su would make of a command. A number that
// belongs to nobody is no user: a mistyped one would own nothing, and a script
// would fail only at the first failover.
//
// It reads the user database of the system (/etc/passwd and /etc/group).
func LookupIdentity(name string) (*Identity, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if _, number := strconv.ParseUint(name, 10, 32); number == nil {
			u, err = user.LookupId(name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("there is no user %s on this machine", name)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("read the groups of user %s: %w", name, err)
	}
	id := &Identity{Name: u.Username, Home: u.HomeDir}
	if id.UID, err = number(u.Uid); err == nil {
		id.GID, err = number(u.Gid)
	}
	for _, g := range groups {
		var gid uint32
		if err == nil {
			gid, err = number(g)
			id.Groups = append(id.Groups, gid)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read user %s: %w", name, err)
	}
	return id, nil
}

func number(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}

// environ is the environment of a program of this user. A nil Identity is the
// daemon's own user.
func (id *Identity) environ(base []string) []string {
	if id == nil || id.Name == "" {
		return base
	}
	env := make([]string, 0, len(base)+3)
	for _, variable := range base {
		switch name, _, _ := strings.Cut(variable, "="); name {
		case "USER", "LOGNAME", "HOME", "MAIL", "XDG_RUNTIME_DIR":
		default:
			env = append(env, variable)
		}
	}
	return append(env, "USER="+id.Name, "LOGNAME="+id.Name, "HOME="+id.Home)
}
