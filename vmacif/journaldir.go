package vmacif

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/internal/rundir"
)

// journalDir is where the journals are. The directory exists only while there
// are some: who needs one makes it, and who leaves nothing in it removes it.
type journalDir struct {
	path  string
	alive func(owner string) bool
}

func (h *Hands) journals() journalDir {
	return journalDir{filepath.Join(h.notes, "sysctl"), h.alive}
}

// lockLimit bounds the wait for another process that has the journals open,
// which takes it well under a millisecond unless it is stopped.
const lockLimit = 5 * time.Second

// journals is the directory, open and locked.
type journals struct {
	journalDir
	dir   *rundir.Dir
	boot  string
	netns uint64
}

// lock takes the lock of all journals, which unlock gives back.
func (d journalDir) lock() (*journals, error) {
	end := time.Now().Add(lockLimit)
	for {
		dir, err := d.open()
		if err != nil {
			return nil, err
		}
		got, err := dir.TryLock()
		if got && dir.Named() {
			j := &journals{journalDir: d, dir: dir}
			if j.boot, j.netns, err = here(); err != nil {
				j.unlock()
				return nil, err
			}
			return j, nil
		}
		_ = dir.Close()
		if err == nil && time.Now().After(end) {
			err = fmt.Errorf("lock %s: a process that has it stands still", d.path)
		}
		if err != nil {
			return nil, err
		}
		if !got { // otherwise the last one to leave has removed it
			time.Sleep(time.Millisecond) // set-up only; a stopped process must not stop us for ever
		}
	}
}

// open opens the directory, which is made if it is missing. What others could have
// written there is refused: root restores from it.
func (d journalDir) open() (*rundir.Dir, error) {
	for {
		notes, err := rundir.Open(filepath.Dir(d.path), rundir.ToMake)
		if err != nil {
			return nil, err
		}
		dir, err := notes.Sub(filepath.Base(d.path))
		_ = notes.Close()
		if errors.Is(err, fs.ErrNotExist) {
			continue // made, and removed by somebody else before it was open
		}
		if err == nil {
			err = dir.Private()
		}
		return dir, err
	}
}

// unlock removes the directory if it is empty and gives the lock back: whoever waits
// for it finds that the directory has gone.
func (j *journals) unlock() {
	_ = j.dir.RemoveEmpty() // it harms nobody if it stays
	_ = j.dir.Close()
}

// journalLimit is more than any journal has: a few hundred instances.
const journalLimit = 1 << 20

// load reads a journal; none, or one that cannot be understood, is nil.
func (j *journals) load(name string) (*journal, error) {
	b, err := j.dir.Read(name, journalLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseJournal(name, b), nil
}

// store replaces a journal in one step. The disk need not keep it over a crash
// of the machine, which takes the sysctls with it.
func (j *journals) store(n *journal) error {
	b, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	return j.dir.Replace(journalName(n.NetNS, n.Index), append(b, '\n'))
}

// acquire makes owner a user of the parent's settings, and of no parent's but those
// used, and sets them; changed says which were not as they should be.
func (d journalDir) acquire(parent device, spec Spec, used map[int]bool) (changed []string, err error) {
	if spec.Family != 4 {
		return nil, nil // an IPv6 router uses none
	}
	owner := spec.Owner
	fail := func(err error) ([]string, error) {
		return nil, fmt.Errorf("journal the sysctls of %s: %w", parent.Name, err)
	}
	j, err := d.lock()
	if err != nil {
		return fail(err)
	}
	defer j.unlock()
	name := journalName(j.netns, parent.Index)
	// The parent may have been deleted and made again under a new index.
	if err := j.dropAll(used, func(_ int, u string) bool { return u == owner }); err != nil {
		return fail(err)
	}
	n, err := j.load(name)
	if err != nil {
		return fail(err)
	}
	if n == nil || n.Boot != j.boot {
		n = &journal{
			Version: journalVersion, Parent: parent.Name,
			Index: parent.Index, Boot: j.boot, NetNS: j.netns,
			Values: make(map[string]change),
		}
	}
	now := func(s setting) (string, error) { return readSysctl(s.family, parent.Name, s.key) }
	if err := n.use(owner, now, d.alive); err != nil {
		return nil, err
	}
	if err := j.store(n); err != nil {
		return fail(err)
	}
	return settle(parent.Name, parentWanted(spec.Family))
}

// release takes every owner for whom gone is true off the lists of the parents, by
// their indexes, and restores the settings of those that have nobody left. It is no
// error if there is no such owner.
func (d journalDir) release(gone func(parent int, owner string) bool) error {
	if _, err := os.Lstat(d.path); errors.Is(err, fs.ErrNotExist) {
		return nil // nobody is on any list
	}
	j, err := d.lock()
	if err != nil {
		return fmt.Errorf("restore sysctls: %w", err)
	}
	defer j.unlock()
	if err := j.dropAll(nil, gone); err != nil {
		return fmt.Errorf("restore sysctls: %w", err)
	}
	return nil
}

// dropAll does so with the lock held, but for some parents, and removes what a process
// has left that died while it was writing.
func (j *journals) dropAll(except map[int]bool, gone func(parent int, owner string) bool) error {
	names, err := j.dir.Names()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		index, ok := parentOf(name)
		switch {
		case strings.HasSuffix(name, newSuffix):
			err = j.dir.Remove(name)
		case !ok || except[index]:
			continue
		default:
			err = j.drop(name, func(owner string) bool { return gone(index, owner) })
		}
		// What is no file is not ours, and in nobody's way.
		if err != nil && !errors.Is(err, unix.EISDIR) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (j *journals) drop(name string, gone func(string) bool) error {
	n, err := j.load(name)
	if err != nil || n == nil {
		return j.dir.Remove(name) // none of ours
	}
	if n.Boot != j.boot {
		return j.dir.Remove(name) // the settings went with the machine's last life
	}
	if n.NetNS != j.netns {
		return nil // for somebody who is there
	}
	left := slices.DeleteFunc(slices.Clone(n.Users), gone)
	if len(left) > 0 {
		if len(left) == len(n.Users) {
			return nil
		}
		n.Users = left
		return j.store(n)
	}
	parent, err := nameOf(n.Index)
	if err == nil {
		err = n.restore(parent)
	}
	// A parent that has gone took its settings along.
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%s: %w", j.dir.Path(name), err)
	}
	return j.dir.Remove(name)
}

// nameOf asks for the present name of an interface in the namespace of the
// calling thread; unix.ENODEV means that there is none.
func nameOf(index int) (string, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("x") // a name is required; the call overwrites it
	if err != nil {
		return "", err
	}
	ifr.SetUint32(uint32(index))
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ifr); err != nil {
		return "", err
	}
	return ifr.Name(), nil
}

// here identifies the life of the kernel and the network namespace.
func here() (boot string, netns uint64, err error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", 0, err
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return "", 0, fmt.Errorf("stat network namespace: %w", err)
	}
	return strings.TrimSpace(string(b)), st.Ino, nil
}
