package daemon

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"vrrpd/config"
	"vrrpd/control"
	"vrrpd/election"
	"vrrpd/grouplock"
	"vrrpd/internal/reexec"
	"vrrpd/lan"
	"vrrpd/lease"
	"vrrpd/rtnl"
	"vrrpd/sysd"
	"vrrpd/vrrp"
)

// fill gives every field a value that it does not have by itself.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{10, 0, byte(*n >> 8), byte(*n)})))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(int64(1_700_000_000+*n), 0).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8:
		v.SetInt(int64(*n%100 + 1))
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		v.SetUint(uint64(*n%100 + 1))
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), n)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), n)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	}
}

// What a virtual router knows is what it knows in the next program: a field that is put
// down and not taken up again, or the other way round, is found here.
func TestKeptRouter(t *testing.T) {
	_, r := testDaemon(t, t.TempDir(), "")
	r.marks = new(vrrp.Marks)
	n := 0
	var k keptRouter
	fill(reflect.ValueOf(&k).Elem(), &n)
	k.Auth, k.Marks = vrrp.AuthConfig{}, k.Marks[:1]
	k.Counters = map[string]uint64{okWord: 7, vrrp.DropTTL.String(): 8, vrrp.DropPeer.String(): 9}
	// Of the configuration, or taken up when sockets and interfaces are there.
	k.Parent, k.VRID, k.Family, k.VR = "eth0", 51, 4, r.vr
	k.Index, k.Risen, k.Guard, k.Rounds = 0, false, nil, nil
	if err := r.restore(&k); err != nil {
		t.Fatal(err)
	}
	if got := r.keep(); !reflect.DeepEqual(got, k) {
		t.Errorf("%+v\nwant\n%+v", got, k)
	}
	k.Auth.Kind = vrrp.HeaderAuth
	if err := r.restore(&k); err == nil {
		t.Error("another kind of authentication was taken over")
	}
}

// The same for what people want to know.
func TestKeptHistory(t *testing.T) {
	d, _ := testDaemon(t, t.TempDir(), "")
	n := 0
	var h history
	fill(reflect.ValueOf(&h).Elem(), &n)
	h.Oddities[0].Parent, h.Oddities[0].RouterVRID, h.Oddities[0].RouterFamily = "eth0", 51, 4
	h.Addrs[0].Prefix = netip.MustParsePrefix("10.0.0.1/24")
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var read history
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	from := &heir{routers: map[*router]*keptRouter{d.routers[0]: {Parent: "eth0", VRID: 51, Family: 4}}}
	d.record(control.Transition{To: "MASTER", Reason: "unanswered"}) // since
	d.record(control.Transition{To: h.Counts[0].To, Reason: h.Counts[0].Reason})
	d.recall(from, &read)
	got := d.keepHistory()
	if n := len(got.Transitions); n != 3 || got.Counts[0].Count != h.Counts[0].Count+1 || len(got.Counts) != 2 {
		t.Errorf("transitions %+v, counts %+v", got.Transitions, got.Counts)
	}
	got.Transitions, got.Counts = got.Transitions[:1], h.Counts
	if !reflect.DeepEqual(got, h) {
		t.Errorf("%+v\nwant\n%+v", got, h)
	}
	if a := oddityAlarms(d.routers[0].parent.appendOddities(nil)); len(a) != 1 {
		t.Errorf("alarms about peers: %+v", a)
	}
}

// bequest is what a program with one virtual router leaves.
func bequest(t testing.TB) (config.Config, Options, kept) {
	t.Helper()
	cfg, err := config.Parse(strings.Fields("-i eth0 -v 51 192.0.2.100"), nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	d := New(cfg, Options{Log: log, Notify: sysd.NewNotifier("", log)})
	if err := d.prepareAuth(); err != nil {
		t.Fatal(err)
	}
	board := &election.LocalBoard{}
	m := election.New(election.Config{}, board, d.electionRouters())
	m.Start(1, nil)
	k := kept{
		Instance: d.instance, Layout: grouplock.Layout, Machine: m.Save(), Guards: keptGuards(t),
		Parents: []keptParent{{Configured: "eth0", Name: "eth0", Link: rtnl.Link{Index: 2, Name: "eth0"}}},
		Routers: []keptRouter{d.routers[0].keep()},
	}
	return cfg, d.opt, k
}

// keptGuards are those of a machine that has none.
func keptGuards(t testing.TB) lease.Kept {
	t.Helper()
	g, err := lease.Open(lease.Config{Ladder: []lease.Rung{lease.None}})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	return g.Keep()
}

func TestInherit(t *testing.T) {
	cfg, opt, k := bequest(t)
	try := func(change func(*kept)) (*Daemon, error) {
		k := k
		k.Routers = append([]keptRouter(nil), k.Routers...)
		k.Parents = append([]keptParent(nil), k.Parents...)
		change(&k)
		s := &reexec.State{}
		if err := s.SetPart(groupPart+k.Instance, k); err != nil {
			t.Fatal(err)
		}
		return inherit(cfg, opt, s, func(replaced) {})
	}
	d, err := try(func(k *kept) {
		// The parent was renamed, and is found by what it was configured as.
		k.Parents[0].Name, k.Parents[0].Link.Name = "lan0", "lan0"
	})
	if err != nil || d.routers[0].cfg.Interface != "lan0" || d.routers[0].asked.Interface != "eth0" || d.parents[0].link.Index != 2 {
		t.Errorf("%v; %+v", err, d)
	}
	for want, change := range map[string]func(*kept){
		"says nothing of group":                func(k *kept) { k.Instance = "eth1-51" },
		"says nothing of eth0":                 func(k *kept) { k.Parents = nil },
		"says nothing of VRID 51":              func(k *kept) { k.Routers[0].VRID = 52 },
		"has 2 virtual routers":                func(k *kept) { k.Routers = append(k.Routers, k.Routers[0]) },
		"has 1 virtual routers":                func(k *kept) { k.Machine.Own = nil },
		"a member 9 that is no virtual router": func(k *kept) { k.Machine.Members = []election.SavedMember{{VR: 9}} },
		"the layout 0x1, and this vrrpd knows": func(k *kept) { k.Layout = 1 },
		"its leases have the layout":           func(k *kept) { k.Guards.Layout++ },
		"there are 7 packet sockets": func(k *kept) {
			k.Parents[0].Heard, k.Parents[0].Port = []uint8{4}, &lan.Kept{Packet: make([]int, 7), Unicast: make([]int, 3)}
		},
		"are not as this vrrpd wants them": func(k *kept) { k.Parents[0].Heard, k.Parents[0].Port = []uint8{6}, &lan.Kept{} },
		"another kind of authentication":   func(k *kept) { k.Routers[0].Auth.Kind = vrrp.HeaderAuth },
	} {
		if _, err := try(change); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Whatever a state says, it is taken over or refused; and what is taken over can be put
// down again.
func FuzzInherit(f *testing.F) {
	cfg, opt, k := bequest(f)
	text, err := json.Marshal(k)
	if err != nil {
		f.Fatal(err)
	}
	n := 0
	var h history
	fill(reflect.ValueOf(&h).Elem(), &n)
	past, err := json.Marshal(h)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, past)
	f.Fuzz(func(t *testing.T, text, past []byte) {
		s := &reexec.State{Parts: map[string]json.RawMessage{groupPart + k.Instance: text}}
		d, err := inherit(cfg, opt, s, func(replaced) {})
		if err != nil {
			return
		}
		m := election.Resume(d.electionConfig(), &election.LocalBoard{}, d.heir.kept.Machine, func(election.SavedMember) (int, election.Router) {
			return 0, d.routers[0].election()
		})
		m.Step(boottime(), nil, nil)
		var h history
		if json.Unmarshal(past, &h) == nil {
			d.recall(d.heir, &h)
		}
		if _, err := json.Marshal(d.routers[0].keep()); err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(d.keepHistory()); err != nil {
			t.Fatal(err)
		}
	})
}
