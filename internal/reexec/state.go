package reexec

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"sync"
	"unicode/utf8"
)

// Format is the form of a State and of all that is in it. A program that has another one
// cannot take over. Within a format fields may be added: what one program does not know
// it leaves out, and what the other has not said is zero. Whatever a field means stays
// as it is; who changes that counts Format up.
const Format = 2

// State is what a program leaves to the next one.
type State struct {
	Version string   // of the program that has left it
	Program string   // path that it was started by
	Args    []string // arguments, without the name of the program
	Shown   []string // the same as others may see them
	Config  []byte   // the configuration file as it is in force; nil: there is none
	File    string   // its path
	Quiet   bool     // in the background: nobody reads its stderr

	// Files are descriptors that the next program owns, Late those that it has
	// to close when it has time: that waits for the kernel.
	Files, Late []int
	// Children are processes that nobody has waited for, each with a process group.
	Children []int
	// Caller is the connection of whoever has asked for this; 0: nobody waits.
	Caller int

	// Parts are what is known of each part of the program, by its name.
	// They travel behind the rest, as they are: of many virtual routers they are some
	// megabytes, which are read once.
	Parts map[string]json.RawMessage `json:"-"`

	late, reaped sync.Once // CloseLate, Reap
}

// text is a State as it is written down, without the parts.
type text struct {
	*State
	Behind []partSize
}

// partSize is how many bytes a part takes.
type partSize struct {
	Name string
	Size int
}

// A state begins with a header: magic, format, length of what follows, its check sum. A
// text comes then, and behind it the parts.
const (
	magic      = "VRRPDRX\x00"
	headerSize = 8 + 4 + 4 + 4
	// maxState is more than 4,096 virtual routers with all of their history need.
	maxState = 64 << 20
	// maxNumbers is how many descriptors or children there may be.
	maxNumbers = 1 << 16
)

// Encode returns the state as Decode reads it.
func (s *State) Encode() ([]byte, error) {
	// JSON would put something else in the place of what it cannot say. An argument may be
	// a secret.
	invalid := func(text string) bool { return !utf8.ValidString(text) }
	switch {
	case invalid(s.Program):
		return nil, fmt.Errorf("write down the state: the path %q is not UTF-8", s.Program)
	case invalid(s.File):
		return nil, fmt.Errorf("write down the state: the path %q is not UTF-8", s.File)
	case slices.ContainsFunc(s.Args, invalid), slices.ContainsFunc(s.Shown, invalid):
		return nil, errors.New("write down the state: an argument is not UTF-8: restart vrrpd instead")
	}
	t, size := text{State: s}, 0
	for _, name := range slices.Sorted(maps.Keys(s.Parts)) {
		t.Behind = append(t.Behind, partSize{name, len(s.Parts[name])})
		size += len(s.Parts[name])
	}
	first, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("write down the state: %w", err)
	}
	if size += len(first); size > maxState {
		return nil, fmt.Errorf("write down the state: %d bytes, more than %d", size, maxState)
	}
	b := make([]byte, headerSize, headerSize+size)
	b = append(b, first...)
	for _, p := range t.Behind {
		b = append(b, s.Parts[p.Name]...)
	}
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], Format)
	binary.LittleEndian.PutUint32(b[12:], uint32(size))
	binary.LittleEndian.PutUint32(b[16:], crc32.ChecksumIEEE(b[headerSize:]))
	return b, nil
}

// FormatError: the state is that of a program which cannot be followed.
type FormatError struct{ Theirs int }

func (e FormatError) Error() string {
	return fmt.Sprintf("the state has format %d, and this vrrpd knows format %d: restart vrrpd instead", e.Theirs, Format)
}

// Decode reads a state, whatever it contains. The error is a FormatError if it is a
// state of another format.
func Decode(b []byte) (*State, error) {
	if len(b) < headerSize || string(b[:8]) != magic {
		return nil, errors.New("this is no state of vrrpd")
	}
	if f := binary.LittleEndian.Uint32(b[8:]); f != Format {
		return nil, FormatError{int(f)}
	}
	all := b[headerSize:]
	if n := binary.LittleEndian.Uint32(b[12:]); int64(n) != int64(len(all)) || n > maxState {
		return nil, fmt.Errorf("the state has %d bytes and should have %d", len(all), n)
	}
	if crc32.ChecksumIEEE(all) != binary.LittleEndian.Uint32(b[16:]) {
		return nil, errors.New("the state is damaged")
	}
	s := &State{}
	t := text{State: s}
	first := json.NewDecoder(bytes.NewReader(all))
	if err := first.Decode(&t); err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	for left := all[first.InputOffset():]; len(t.Behind) > 0 || len(left) > 0; t.Behind = t.Behind[1:] {
		if len(t.Behind) == 0 || t.Behind[0].Size < 0 || t.Behind[0].Size > len(left) {
			return nil, errors.New("the state has parts of other sizes than it says")
		}
		p := t.Behind[0]
		if s.Parts == nil {
			s.Parts = map[string]json.RawMessage{}
		}
		s.Parts[p.Name], left = left[:p.Size:p.Size], left[p.Size:]
	}
	return s, s.check()
}

// check refuses numbers that nobody can mean.
func (s *State) check() error {
	if len(s.Files) > maxNumbers || len(s.Late) > maxNumbers || len(s.Children) > maxNumbers {
		return errors.New("the state has too many descriptors or children")
	}
	for _, list := range [][]int{s.Files, s.Late} {
		for _, fd := range list {
			if fd < firstOwn || fd >= 1<<30 {
				return fmt.Errorf("the state has the descriptor %d", fd)
			}
		}
	}
	for _, pid := range s.Children {
		if pid < 2 || pid > 1<<30 {
			return fmt.Errorf("the state has the child %d", pid)
		}
	}
	if s.Caller < 0 || s.Caller > 0 && s.Caller < firstOwn {
		return fmt.Errorf("the state has the caller %d", s.Caller)
	}
	return nil
}

// firstOwn is the first descriptor that is not a standard one.
const firstOwn = 3

// Part reads one of the parts; a missing one is an error.
func (s *State) Part(name string, into any) error {
	text, ok := s.Parts[name]
	if !ok {
		return fmt.Errorf("the state says nothing of %s", name)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read the state of %s: %w", name, err)
	}
	return nil
}

// SetPart puts a part in.
func (s *State) SetPart(name string, from any) error {
	text, written := from.(json.RawMessage)
	if !written {
		var err error
		if text, err = json.Marshal(from); err != nil {
			return fmt.Errorf("write down the state of %s: %w", name, err)
		}
	}
	if s.Parts == nil {
		s.Parts = map[string]json.RawMessage{}
	}
	s.Parts[name] = text
	return nil
}
