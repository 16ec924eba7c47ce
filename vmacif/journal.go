package vmacif

import (
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// A parent's sysctls are shared by all virtual routers of the machine that
// stand on it, in whichever process and whatever its run directory. What they
// were before the first one came is noted in a journal, with the list of those
// who use them, before anything is changed. The last one to leave restores the
// values and removes the journal. An instance that died stays in the list until
// somebody comes who knows that it is dead.
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

const (
	journalSuffix = ".json"
	newSuffix     = ".new" // a journal that is being written
)

// journalName is the name of a parent's file: by index, because a parent may be
// renamed, and by namespace, because several may share a file system.
func journalName(netns uint64, index int) string {
	return strconv.FormatUint(netns, 10) + "-" + strconv.Itoa(index) + journalSuffix
}

// parseJournal reads the file of that name; nil is one that cannot be understood.
// A journal is written whole or not at all, so that is somebody's editing; what
// the values were is then not known to anybody. What a journal says that none of
// ours would say is left out: only a setting that is changed here can be restored,
// from the value that is written here, to a number.
func parseJournal(name string, b []byte) *journal {
	var j journal
	if json.Unmarshal(b, &j) != nil || j.Version != journalVersion || j.Index <= 0 || name != journalName(j.NetNS, j.Index) {
		return nil
	}
	values := make(map[string]change, len(parentSettings))
	for _, s := range parentSettings {
		c := j.Values[s.place()]
		if _, err := strconv.ParseUint(c.Was, 10, 8); err == nil && len(c.Was) <= 3 && c.Ours == s.value {
			values[s.place()] = c
		}
	}
	j.Values = values
	return &j
}

// place is the name of a setting in a journal.
func (s setting) place() string { return s.family + "/" + s.key }

// use makes owner a user of the settings of a parent, with what they are now.
// Users of whom alive says that they are dead go.
func (j *journal) use(owner string, now func(setting) (string, error), alive func(string) bool) error {
	j.Users = slices.DeleteFunc(j.Users, func(u string) bool { return u != owner && !alive(u) })
	// With nobody left in the list the journal is that of a crash. What still
	// has our value had the journalled one before; the rest was changed since.
	abandoned := len(j.Users) == 0 || (len(j.Users) == 1 && j.Users[0] == owner)
	for _, s := range parentSettings {
		is, err := now(s)
		if err != nil {
			return err
		}
		c, known := j.Values[s.place()]
		if !known || (abandoned && is != c.Ours) {
			c.Was = is
		}
		c.Ours = s.value
		j.Values[s.place()] = c
	}
	if !slices.Contains(j.Users, owner) {
		j.Users = append(j.Users, owner)
	}
	return nil
}

// restore writes the old values back where ours still stand.
func (j *journal) restore(parent string) error {
	var errs []error
	for _, s := range parentSettings {
		c, known := j.Values[s.place()]
		if !known {
			continue
		}
		now, err := readSysctl(s.family, parent, s.key)
		if err == nil && now == c.Ours {
			_, _, err = writeSysctl(s.family, parent, s.key, c.Was)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// parentOf is the index of the parent in the name of a journal.
func parentOf(name string) (index int, ok bool) {
	text, ok := strings.CutSuffix(name, journalSuffix)
	ns, at, dash := strings.Cut(text, "-")
	_, err1 := strconv.ParseUint(ns, 10, 64)
	index, err2 := strconv.Atoi(at)
	return index, ok && dash && err1 == nil && err2 == nil
}
