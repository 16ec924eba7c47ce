package vmacif

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vrrpd/internal/rundir"
)

// A parent's sysctls are shared by all virtual routers of the machine that
// stand on it, in whichever process. What they were before the first one came
// is written to RUNDIR/sysctl/IFINDEX.json, with the list of those who use them,
// before anything is changed. (The index, because a parent may be renamed.) The
// last one to leave restores the values and removes the file. An instance that
// died stays in the list until somebody comes who knows that it is dead.
//
// A value is restored only if it is still the one that was written here: what
// somebody else has set in the meantime is that one's will, and stays.

const journalVersion = 1

// journal is the content of a parent's file.
type journal struct {
	Version int    `json:"version"`
	Parent  string `json:"parent"` // its name when the journal was begun, for people
	// Index, Boot and NetNS tell the device: values of another life of the
	// kernel do not exist any more, those of another namespace are not ours.
	Index  int               `json:"ifindex"`
	Boot   string            `json:"boot"`
	NetNS  uint64            `json:"netns"`
	Values map[string]change `json:"values"` // by "family/key"
	Users  []string          `json:"users"`  // instance names
}

// change is one setting: what it was, and what was written.
type change struct {
	Was  string `json:"was"`
	Ours string `json:"ours"`
}

// journalDir is the directory of all journals.
type journalDir struct {
	runDir string
	path   string // for messages
	alive  func(owner string) bool
}

func (h *Hands) journals() journalDir {
	return journalDir{h.runDir, filepath.Join(h.runDir, journalSub), h.alive}
}

const (
	// journalSub is the directory of the journals in the run directory.
	journalSub = "sysctl"
	// journalLimit is far more than a journal with every process of a machine.
	journalLimit = 1 << 20
)

// open opens the directory, which is made if it is missing. What others could
// have written there is refused: root restores from it.
func (d journalDir) open() (*rundir.Dir, error) {
	run, err := rundir.Open(d.runDir)
	if err != nil {
		return nil, err
	}
	defer run.Close()
	return run.Sub(journalSub)
}

// lockLimit bounds the wait for another process that has the journals open,
// which takes it well under a millisecond unless it is stopped.
const lockLimit = 5 * time.Second

// lock takes the lock of all journals. It is a file of its own, because the
// journals are replaced by renaming.
func (d journalDir) lock() (unlock func(), err error) {
	dir, err := d.open()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	f, err := dir.File("lock", unix.O_RDWR|unix.O_CREAT, 0o600)
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(lockLimit)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if (err != unix.EWOULDBLOCK && err != unix.EINTR) || time.Now().After(end) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		time.Sleep(time.Millisecond) // set-up only; a stopped process must not stop us for ever
	}
}

func journalName(index int) string { return strconv.Itoa(index) + ".json" }

func (d journalDir) file(index int) string { return filepath.Join(d.path, journalName(index)) }

// load reads a journal; none, or one that cannot be understood, is nil. A
// journal is written whole or not at all, so the latter is somebody's editing;
// what the values were is then not known to anybody.
func (d journalDir) load(index int) (*journal, error) {
	dir, err := d.open()
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	b, err := dir.Read(journalName(index), journalLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeJournal(b, index), nil
}

// decodeJournal accepts any content.
func decodeJournal(b []byte, index int) *journal {
	var j journal
	if json.Unmarshal(b, &j) != nil || j.Version != journalVersion || j.Index != index {
		return nil
	}
	if j.Values == nil {
		j.Values = make(map[string]change)
	}
	return &j
}

// store replaces a journal in one step. The disk need not keep it over a crash
// of the machine, which takes the sysctls with it.
func (d journalDir) store(j *journal) error {
	b, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	dir, err := d.open()
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Replace(journalName(j.Index), append(b, '\n'))
}

// acquire makes owner a user of the parent's settings, and of no other
// parent's, and sets them; changed says which were not as they should be.
func (d journalDir) acquire(parent device, owner string) (changed []string, err error) {
	fail := func(err error) ([]string, error) {
		return nil, fmt.Errorf("journal the sysctls of %s: %w", parent.Name, err)
	}
	unlock, err := d.lock()
	if err != nil {
		return fail(err)
	}
	defer unlock()
	boot, netns, err := here()
	if err != nil {
		return fail(err)
	}
	// The parent may have been deleted and made again under a new index.
	if err := d.dropAll(parent.Index, func(u string) bool { return u == owner }); err != nil {
		return fail(err)
	}
	j, err := d.load(parent.Index)
	if err != nil {
		return fail(err)
	}
	if j == nil || j.Boot != boot || j.NetNS != netns {
		j = &journal{
			Version: journalVersion, Parent: parent.Name,
			Index: parent.Index, Boot: boot, NetNS: netns,
			Values: make(map[string]change),
		}
	}
	j.Users = slices.DeleteFunc(j.Users, func(u string) bool { return u != owner && !d.alive(u) })
	// With nobody left in the list the journal is that of a crash. What still
	// has our value had the journalled one before; the rest was changed since.
	abandoned := len(j.Users) == 0 || (len(j.Users) == 1 && j.Users[0] == owner)
	for _, s := range parentSettings {
		now, err := readSysctl(s.family, parent.Name, s.key)
		if err != nil {
			return nil, err
		}
		place := s.family + "/" + s.key
		c, known := j.Values[place]
		if !known || (abandoned && now != c.Ours) {
			c.Was = now
		}
		c.Ours = s.value
		j.Values[place] = c
	}
	if !slices.Contains(j.Users, owner) {
		j.Users = append(j.Users, owner)
	}
	if err := d.store(j); err != nil {
		return fail(err)
	}
	return settle(false, parent.Name, parentSettings[:])
}

// release takes every owner for whom gone is true off the lists of all parents,
// and restores the settings of those that have nobody left. It is no error if
// there is no such owner.
func (d journalDir) release(gone func(owner string) bool) error {
	unlock, err := d.lock()
	if err != nil {
		return fmt.Errorf("restore sysctls: %w", err)
	}
	defer unlock()
	return d.dropAll(0, gone)
}

// dropAll does so for all parents but one; the caller holds the lock.
func (d journalDir) dropAll(except int, gone func(string) bool) error {
	dir, err := d.open()
	if err != nil {
		return fmt.Errorf("restore sysctls: %w", err)
	}
	names, err := dir.Names()
	_ = dir.Close()
	if err != nil {
		return fmt.Errorf("restore sysctls: %w", err)
	}
	var errs []error
	for _, file := range names {
		name, ok := strings.CutSuffix(file, ".json")
		index, err := strconv.Atoi(name)
		if !ok || err != nil || index == except || journalName(index) != file {
			continue
		}
		if err := d.drop(index, gone); err != nil {
			errs = append(errs, fmt.Errorf("restore sysctls from %s: %w", d.file(index), err))
		}
	}
	return errors.Join(errs...)
}

func (d journalDir) drop(index int, gone func(string) bool) error {
	j, err := d.load(index)
	if err != nil {
		return err
	}
	if j == nil {
		return d.remove(index)
	}
	boot, netns, err := here()
	if err != nil {
		return err
	}
	if boot != j.Boot {
		return d.remove(index) // the settings went with the machine's last life
	}
	if netns != j.NetNS {
		return nil // for somebody who is there
	}
	left := slices.DeleteFunc(slices.Clone(j.Users), gone)
	if len(left) > 0 {
		if len(left) == len(j.Users) {
			return nil
		}
		j.Users = left
		return d.store(j)
	}
	if err := j.restore(); err != nil {
		return err
	}
	return d.remove(index)
}

// setting takes a key of Values apart; not ok is one that would lead elsewhere.
func (j *journal) setting(place string) (family, key string, ok bool) {
	family, key, _ = strings.Cut(place, "/")
	return family, key, (family == "ipv4" || family == "ipv6") && key != "" && !strings.ContainsAny(key, "/.\x00")
}

// restore writes the old values back where ours still stand, if the parent
// still exists.
func (j *journal) restore() error {
	parent, err := nameOf(j.Index)
	if errors.Is(err, unix.ENODEV) {
		return nil // its settings went with it
	}
	if err != nil {
		return err
	}
	var errs []error
	for place, c := range j.Values {
		family, key, ok := j.setting(place)
		if !ok {
			continue
		}
		now, err := readSysctl(family, parent, key)
		if err == nil && now == c.Ours {
			_, _, err = writeSysctl(family, parent, key, c.Was)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d journalDir) remove(index int) error {
	dir, err := d.open()
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Remove(journalName(index))
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
