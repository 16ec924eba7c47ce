package reexec

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"
)

func sample() *State {
	s := &State{
		Version: "1.2", Program: "/usr/sbin/vrrpd", Args: []string{"-i", "eth0"}, Shown: []string{"-i", "eth0"}, Config: []byte("interval = 1\n"),
		File: "/etc/vrrpd.toml", Quiet: true, Files: []int{3, 4000}, Late: []int{7}, Children: []int{77}, Caller: 9,
	}
	if err := s.SetPart("group x", map[string]int{"a": 1}); err != nil {
		panic(err)
	}
	return s
}

func encoded(t testing.TB, s *State) []byte {
	t.Helper()
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	s := sample()
	got, err := Decode(encoded(t, s))
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Fatalf("%+v, %v", got, err)
	}
	var part map[string]int
	if err := got.Part("group x", &part); err != nil || part["a"] != 1 {
		t.Errorf("%v, %v", part, err)
	}
	if err := got.Part("group y", &part); err == nil || !strings.Contains(err.Error(), "says nothing of group y") {
		t.Errorf("a part that is not there: %v", err)
	}
	var number int
	if err := got.Part("group x", &number); err == nil {
		t.Error("a part of another kind was read")
	}
}

// A path or an argument of any bytes would be another one in the next program.
func TestNotUTF8(t *testing.T) {
	for _, change := range []func(*State){
		func(s *State) { s.Program = "/opt/\xff/vrrpd" },
		func(s *State) { s.File = "/etc/\xff" },
		func(s *State) { s.Args = []string{"-a", "pass/secret\xc3", "\xa9"} },
		func(s *State) { s.Shown = []string{"\xc3"} },
	} {
		s := sample()
		change(s)
		if _, err := s.Encode(); err == nil || !strings.Contains(err.Error(), "is not UTF-8") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// pack makes a state of any text.
func pack(text string) []byte {
	b := make([]byte, headerSize)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], Format)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(text)))
	binary.LittleEndian.PutUint32(b[16:], crc32.ChecksumIEEE([]byte(text)))
	return append(b, text...)
}

func TestDecodeRefuses(t *testing.T) {
	good := encoded(t, sample())
	edit := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	for what, b := range map[string][]byte{
		"nothing":                nil,
		"a header alone":         good[:headerSize],
		"one byte less":          good[:len(good)-1],
		"one byte more":          append(bytes.Clone(good), 0),
		"another magic":          edit(func(b []byte) { b[0] = 'X' }),
		"a bit of the text":      edit(func(b []byte) { b[headerSize+5] ^= 1 }),
		"no JSON":                pack("hello"),
		"the standard output":    pack(`{"Files":[1]}`),
		"a negative descriptor":  pack(`{"Late":[-3]}`),
		"a huge descriptor":      pack(`{"Files":[4000000000]}`),
		"init":                   pack(`{"Children":[1]}`),
		"every process":          pack(`{"Children":[-1]}`),
		"the caller on stderr":   pack(`{"Caller":2}`),
		"a caller below nothing": pack(`{"Caller":-2}`),
		"a part that is cut":     pack(`{"Behind":[{"Name":"a","Size":5}]}{"b"`),
		"a part of less":         pack(`{"Behind":[{"Name":"a","Size":-1}]}`),
		"more than its parts":    pack(`{"Behind":[{"Name":"a","Size":2}]}{}{}`),
		"parts that it is not":   pack(`{}{}`),
	} {
		if s, err := Decode(b); err == nil {
			t.Errorf("%s: %+v", what, s)
		}
	}
	_, err := Decode(edit(func(b []byte) { b[8] = 7 }))
	var other FormatError
	if !errors.As(err, &other) || other.Theirs != 7 || !strings.Contains(err.Error(), "restart vrrpd instead") {
		t.Errorf("another format: %v", err)
	}
}

// Another program may know more, or less.
func TestUnknownFields(t *testing.T) {
	s, err := Decode(pack(`{"Version":"9","Novelty":{"a":[1]}}`))
	if err != nil || s.Version != "9" || s.Parts != nil {
		t.Errorf("%+v, %v", s, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encoded(f, sample()))
	f.Add(pack(`{"Files":[3,4],"Behind":[{"Name":"a","Size":4},{"Name":"b","Size":2}]}null{}`))
	f.Add([]byte("VRRPDRX"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, in := range [][]byte{b, pack(string(b))} {
			s, err := Decode(in)
			if err != nil {
				continue
			}
			again, err := Decode(encoded(t, s))
			if err != nil {
				t.Fatalf("what was read cannot be read again: %v", err)
			}
			a, _ := json.Marshal(s)
			b, _ := json.Marshal(again)
			if !bytes.Equal(a, b) {
				t.Fatalf("%s\n%s", a, b)
			}
		}
	})
}
