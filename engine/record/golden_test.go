package record

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// golden compares bytes with a file in hex. The files are the formats as they lie
// on disks: they never change. A new format gets a new version and new files.
func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := "testdata/" + name + ".hex"
	if os.Getenv("RINGFENCE_NEW_GOLDEN") == name { // for a new file only
		if err := os.WriteFile(path, []byte(hex.EncodeToString(got)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := readGolden(t, name)
	if !bytes.Equal(got, want) {
		t.Errorf("%s is now written as\n%x, it was\n%x", name, got, want)
	}
	return want
}

// readGolden returns the bytes of a fixture.
func readGolden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".hex")
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return want
}

func withoutPhone() hashing.Subjects {
	s := subjects()
	s[hashing.Phone] = hashing.Subject{}
	return s
}

// busy is a phone with everything that a record can hold.
func busy() *Record {
	all := subjects()
	r := new(Record)
	for i := range 200 {
		binary.BigEndian.PutUint32(all[hashing.Account].ID[12:], uint32(i)*2654435761)
		binary.BigEndian.PutUint32(all[hashing.Device].ID[12:], uint32(i%7)*2654435761)
		at := Time(200_000_000 + 60*i)
		m := NewMark(scoring.Event(1+i%3), at, at, Seq(1000+i), &all, []string{"GB", "US"}[i%2])
		r.Apply(hashing.Phone, &m)
	}
	now := Time(200_012_000)
	r.countOutcome(scoring.Verified, 0, now, now)
	r.label(scoring.Abuse, 2)
	r.label(scoring.Legitimate, 1)
	r.Link(hashing.LinkTag{1}, now, 3)
	r.Link(hashing.LinkTag{2}, now, 3)
	r.SetList(7, 0)
	r.SetList(9, 1_800_000_000)
	return r
}

func TestGoldenRecord(t *testing.T) {
	all := subjects()
	var once Record
	m := NewMark(scoring.Signup, 200_000_000, 200_000_000, 5, &all, "GB")
	once.Apply(hashing.Phone, &m)
	golden(t, "record_once", once.Bytes())

	var r Record
	if err := r.Load(golden(t, "record_busy", busy().Bytes())); err != nil {
		t.Fatal(err)
	}
	now := Time(200_012_000)
	if r.FirstSeen() != unix(200_000_000) || r.Newest() != 1199 || r.Links() != 2 || r.LinkedSince(hashing.LinkTag{2}) != unix(now) ||
		r.Labels(scoring.Abuse) != 2 || r.Labels(scoring.Legitimate) != 1 || r.Total(scoring.Signup) != 67 || r.Total(scoring.Verified) != 1 {
		t.Error("a stored record is read as something else")
	}
	if n := r.Count(scoring.SignIn, now, 1800); n != 9 { // the tenth is where the window opens, and outside
		t.Errorf("%v sign-ins in half an hour", n)
	}
	if n := r.Distinct(scoring.Devices, now, 86400); n != 7 {
		t.Errorf("%v devices", n)
	}
	var lists []uint16
	r.Lists(now, func(id uint16) { lists = append(lists, id) })
	if len(lists) != 2 || lists[0] != 7 || lists[1] != 9 {
		t.Errorf("lists %v", lists)
	}
	r.Release()
	golden(t, "record_released2", r.Bytes())
	// Earlier programs forgot the newest event.
	if err := r.Load(readGolden(t, "record_released")); err != nil || r.Generation() != 1 || r.Newest() != 0 || !r.Empty() {
		t.Errorf("a record released earlier is read as generation %d, newest %d: %v", r.Generation(), r.Newest(), err)
	}
}

// TestGoldenEntry reads what version 1 wrote, and holds versions 2 to 4 to their fixtures.
func TestGoldenEntry(t *testing.T) {
	e := Entry{
		ID: NewEventID(1234, 5678), Kind: scoring.Verification, Verified: true, Claimed: true, Given: true, Valid: true,
		Time: 1_800_000_000, Now: 1_800_000_007, Subjects: subjects(), Link: hashing.LinkTag{1, 2, 3}, Prev: 99, Generation: 2,
		Verdict: scoring.Review, Score: 61, Policy: 300, Values: []float64{0, 1, math.NaN(), 0.5, -3, 1e6},
	}
	e.SetOutcome(Outcome{Kind: scoring.Verified, Time: 1_800_000_100})
	e.SetOutcome(Outcome{Kind: scoring.Abuse, Time: 1_800_086_400, Source: "chargeback"})
	check := func(b []byte) Entry {
		var read Entry
		if err := read.Decode(e.ID, b); err != nil {
			t.Fatal(err)
		}
		if read.Kind != e.Kind || !read.Claimed || read.Holdout || read.Subjects != e.Subjects || read.Link != e.Link || read.Prev != 99 ||
			read.Generation != 2 || read.Score != 61 || read.Policy != 300 || len(read.Values) != 6 || !math.IsNaN(read.Values[2]) || read.Values[4] != -3 {
			t.Errorf("a stored entry is read as %+v", read)
		}
		if o := read.Outcomes(); len(o) != 2 || o[0].Kind != scoring.Verified || o[1].Source != "chargeback" {
			t.Errorf("outcomes %+v", o)
		}
		return read
	}
	if old := check(readGolden(t, "entry")); old.Now != old.Time || old.Country != "" || old.Linked {
		t.Errorf("version 1 is read as %+v", old)
	}
	e.Linked, e.Country = true, "GB"
	now := check(golden(t, "entry2", e.Append(nil)))
	if now.Now != e.Now || now.Country != "GB" || !now.Linked {
		t.Errorf("version 2 is read as %+v", now)
	}
	golden(t, "entry2", now.Append(nil))

	e.Shadows = []Shadow{
		{Policy: 301, Decision: scoring.Block, Score: 100, Values: []float64{7, math.NaN()}},
		{Policy: 302, Decision: scoring.Allow, Score: 82, Holdout: true, Values: nil},
	}
	b := golden(t, "entry3", e.Append(nil))
	if got := check(b).Shadows; len(got) != 2 || got[0].Policy != 301 || got[0].Decision != scoring.Block || got[0].Score != 100 || got[0].Holdout ||
		len(got[0].Values) != 2 || got[0].Values[0] != 7 || !math.IsNaN(got[0].Values[1]) ||
		got[1].Policy != 302 || got[1].Decision != scoring.Allow || got[1].Score != 82 || !got[1].Holdout || len(got[1].Values) != 0 {
		t.Errorf("shadows are read as %+v", got)
	}
	for n := range b {
		if now.Decode(e.ID, b[:n]) == nil {
			t.Errorf("%d of %d bytes are an entry", n, len(b))
		}
	}
	if err := now.Decode(e.ID, readGolden(t, "entry2")); err != nil || len(now.Shadows) != 0 {
		t.Errorf("shadows of another entry are left: %+v, %v", now.Shadows, err)
	}

	reports := []Report{
		{Outcome: Outcome{Kind: scoring.Legitimate, Time: 1_800_090_000}, Seq: 2234, Now: 1_800_090_007},
		{Outcome: Outcome{Time: 1_800_090_100}, Seq: 1_001_234, Now: 1_800_090_100},
		{Outcome: Outcome{Kind: scoring.Abuse, Time: 1_800_090_200, Source: "manual"}, Stale: true},
	}
	for _, r := range reports {
		e.Report(r)
	}
	b = golden(t, "entry4", e.Append(nil))
	if err := now.Decode(e.ID, b); err != nil || !slices.Equal(now.Reports(), reports) || len(now.Shadows) != 2 {
		t.Errorf("reports are read as %+v, %v", now.Reports(), err)
	}
	if o := now.Outcomes(); len(o) != 2 || o[0].Kind != scoring.Verified || o[1].Source != "manual" || now.First(scoring.Legitimate).Source != "chargeback" {
		t.Errorf("outcomes %+v", o)
	}
	for n := range b {
		if now.Decode(e.ID, b[:n]) == nil {
			t.Errorf("%d of %d bytes are an entry", n, len(b))
		}
	}
	e.Shadows = nil
	if err := now.Decode(e.ID, e.Append(nil)); err != nil || len(now.Reports()) != 3 || len(now.Shadows) != 0 {
		t.Errorf("reports without shadows are read as %+v, %v", now, err)
	}
	if err := now.Decode(e.ID, readGolden(t, "entry2")); err != nil || len(now.Reports()) != 0 {
		t.Errorf("reports of another entry are left: %+v, %v", now.Reports(), err)
	}
}

func TestGoldenEffects(t *testing.T) {
	for name, e := range map[string]Effect{
		"effect_outcome": {
			Op: OpOutcome, Time: 1_800_000_000, Now: 1_800_000_001, Subjects: subjects(), Event: scoring.Abuse,
			Replaced: scoring.Legitimate, Linked: true, Link: hashing.LinkTag{1, 2, 3},
		},
		"effect_unlink":  {Op: OpUnlink, Time: 1_800_000_000, Now: 1_800_000_000, Subjects: subjects(), Link: hashing.LinkTag{4}},
		"effect_release": {Op: OpRelease, Time: 1_800_000_000, Now: 1_800_000_000, Subjects: subjects()},
		"effect_list":    {Op: OpList, Time: 1_800_000_000, Now: 1_800_000_000, Subjects: subjects(), List: 300, Expires: 1_900_000_000},
		"effect_erase":   {Op: OpErase, Time: 1_800_000_000, Now: 1_800_000_000, Subjects: subjects()},
		"effect_remains": {
			Op: OpErase, Time: 1_800_000_000, Now: 1_800_000_007, Subjects: withoutPhone(),
			Remains: Remains{Event: scoring.Verification, Verified: true, Tag: 0x01020304, Country: "GB"},
		},
		"effect_unlist":  {Op: OpUnlist, Subjects: subjects(), List: 300},
		"effect_lapse":   {Op: OpLapse, Time: 1_800_000_000, Now: 1_800_000_000, Subjects: subjects()},
		"effect_sweep":   {Op: OpSweep, Time: 1_800_000_000, Now: 1_800_000_000, Subjects: subjects()},
		"effect_migrate": {Op: OpMigrate, Time: 1_800_000_000, Now: 1_800_000_000, Subjects: subjects(), Record: string(busy().Bytes())},
		"effect_gone":    {Op: OpMigrate, Time: 1_800_000_000, Now: 1_800_000_000, Subjects: subjects()},
	} {
		b := golden(t, name, e.Append(nil))
		var read Effect
		if err := read.Decode(0, b); err != nil || read != e {
			t.Errorf("%s is read as %+v: %v", name, read, err)
		}
		for n := range b {
			if read.Decode(0, b[:n]) == nil {
				t.Errorf("%d of %d bytes are %s", n, len(b), name)
			}
		}
	}
}
