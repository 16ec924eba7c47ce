package grouplock

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"vrrpd/internal/rundir"
)

// Tidy removes what no process needs any more and none that runs would remove:
// the member file of a process that died while it joined or left, and the file of
// a group without processes, unless that holds a wish of the operator. It is for
// vrrpd --release. It takes the locks as everybody does and waits for none: what
// is in use is removed by its user.
func Tidy(dir string) error {
	m, err := thisMachine()
	if err != nil {
		return err
	}
	d, err := openDirectory(dir, rundir.ToChange)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.close()
	instances, err := d.instances()
	if err != nil {
		return err
	}
	var errs []error
	for _, instance := range instances { // first: what is no member keeps no group
		errs = append(errs, d.tidy(instance+memberSuffix, func(int) bool {
			m, ok := d.inspect(instance, m.boot)
			return ok && m.Status != Left && m.Status != Stale
		}))
	}
	groups, err := d.list(groupSuffix)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, group := range groups {
		errs = append(errs, d.tidy(group+groupSuffix, func(fd int) bool { return d.grouped(group, m.boot) || wished(fd, m.boot) }))
	}
	return errors.Join(errs...)
}

// tidy removes a file unless somebody has its lock, or it is needed.
func (d *directory) tidy(name string, needed func(fd int) bool) error {
	// A descriptor that cannot write: closing it rings no bell.
	fd, _, err := d.open(name, unix.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("tidy: %w", err)
	}
	defer unix.Close(fd)
	got, err := tryLock(fd)
	if err != nil {
		return fmt.Errorf("tidy %s: %w", d.join(name), err)
	}
	if !got {
		return nil
	}
	defer unlock(fd) // after the removal: who waits for it finds a file without a name
	if !d.names(name, fd) || needed(fd) {
		return nil
	}
	return d.remove(name)
}

// grouped reports whether a group may have members, alive or to be cleaned up
// after. Of a record that cannot be read nobody knows which group it means.
func (d *directory) grouped(group string, boot [2]uint64) bool {
	instances, err := d.instances()
	if err != nil {
		return true
	}
	for _, instance := range instances {
		m, ok := d.inspect(instance, boot)
		if ok && (m.Status == Damaged || m.Group == group && (m.Status == Alive || m.Status == Dead)) {
			return true
		}
	}
	return false
}

// wished reports whether an open group file holds a wish of the operator in this
// boot, or is none of this version.
func wished(fd int, boot [2]uint64) bool {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return true
	}
	if st.Size < groupBytes {
		return st.Size != 0 // its maker died at once
	}
	c, err := mapFile(fd, groupBytes, false)
	if err != nil {
		return true
	}
	defer c.close()
	keep := true
	err = guarded(func() error {
		if err := checkGroup(c, boot); err != nil {
			keep = !errors.Is(err, errNoGroup)
			return nil
		}
		w := unpackWishes(c.load(grpWishes))
		keep = w.Soft || w.Hold
		return nil
	})
	return err != nil || keep
}
