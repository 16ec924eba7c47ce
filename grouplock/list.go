package grouplock

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"vrrpd/internal/rundir"
)

// List returns a copy of every member file in a run directory, of all groups,
// sorted by instance: for atropos and vrrpd --release. It changes nothing and
// takes no lock. A directory that does not exist is fs.ErrNotExist.
func List(dir string) ([]Member, error) {
	m, err := thisMachine()
	if err != nil {
		return nil, err
	}
	d, err := openDirectory(dir, rundir.ToLook)
	if err != nil {
		return nil, err
	}
	defer d.close()
	instances, err := d.instances()
	if err != nil {
		return nil, err
	}
	var list []Member
	for _, instance := range instances {
		if m, ok := d.inspect(instance, m.boot); ok {
			list = append(list, m)
		}
	}
	return list, nil
}

// inspect reads one member file; false means that there is none, or only one
// whose process is just starting.
func (d *directory) inspect(instance string, boot [2]uint64) (Member, bool) {
	damaged := func(err error) (Member, bool) {
		return Member{Instance: instance, Status: Damaged, Err: err}, true
	}
	fd, _, err := d.open(instance+memberSuffix, unix.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return Member{}, false
	}
	if err != nil {
		return damaged(err)
	}
	defer unix.Close(fd)
	alive, err := isAlive(fd)
	if err != nil {
		return damaged(err)
	}
	c, err := mapRecord(fd, false)
	if errors.Is(err, errUnfinished) {
		return Member{}, false
	}
	if err != nil {
		return damaged(err)
	}
	defer c.close()
	var m Member
	var h header
	var state uint64
	err = guarded(func() (err error) {
		if h, err = readHeader(c); err == nil {
			state = c.load(recState)
			m, err = readMember(c, h, instance)
		}
		return err
	})
	switch {
	case errors.Is(err, errUnfinished):
		return Member{}, false
	case err != nil:
		return damaged(fmt.Errorf("%s: %w", d.join(instance+memberSuffix), err))
	case state == recLeft:
		m.Status = Left
	case alive:
		m.Status = Alive
	case h.boot != boot:
		m.Status = Stale
	default:
		m.Status = Dead
	}
	return m, true
}
