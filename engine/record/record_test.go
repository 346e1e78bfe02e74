package record

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

func subjects() hashing.Subjects {
	var all hashing.Subjects
	for kind := hashing.Phone; kind < hashing.Kinds; kind++ {
		all[kind] = hashing.Subject{Kind: kind, Key: 1, ID: [16]byte{byte(kind), 15: 9}}
	}
	return all
}

func TestAPhoneSeenOnceTakesAtMost64Bytes(t *testing.T) {
	all := subjects()
	var r Record
	m := NewMark(scoring.Signup, 1000, 1000, 5, &all, "GB")
	r.Apply(hashing.Phone, &m)
	if n := len(r.Bytes()); n > 64 {
		t.Errorf("%d bytes", n)
	}
}

func TestPairsAreThoseThatPoliciesMayAskFor(t *testing.T) {
	for s := scoring.Phone; s <= scoring.Device; s++ {
		got, want := slices.Sorted(slices.Values(pairs[s])), slices.Sorted(slices.Values(scoring.Pairs(s)))
		if !slices.Equal(got, want) || s.String() != hashing.Kind(s).String() {
			t.Errorf("%v: kept %v, may be asked for %v", s, got, want)
		}
	}
}

func TestApplyDoesNotAllocate(t *testing.T) {
	all := subjects()
	var r Record
	now := Time(1000)
	apply := func() {
		now++
		m := NewMark(scoring.Signup, now, now, Seq(now), &all, "GB")
		r.Apply(hashing.Phone, &m)
	}
	for range 500 {
		apply()
	}
	if n := testing.AllocsPerRun(500, apply); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAClockThatJumpedTwiceFreezesNothing goes ahead by ten years and by an
// hour, and back each time. What was stored meanwhile is counted again after the next write.
func TestAClockThatJumpedTwiceFreezesNothing(t *testing.T) {
	all := subjects()
	var r Record
	seq := Seq(0)
	happen := func(now Time) {
		seq++
		m := NewMark(scoring.Signup, now, now, seq, &all, "GB")
		r.Apply(hashing.Phone, &m)
		r.Link(hashing.LinkTag{byte(seq)}, now, 0)
	}
	const today, year = Time(200_000_000), 365 * 24 * 3600
	for _, now := range []Time{today, today + 10*year, today + 500, today + 3600, today - 100} {
		happen(now)
	}
	if n := r.Count(scoring.Signup, today-100, 3600); n != 5 {
		t.Errorf("%v of 5 signups are counted", n)
	}
	if n := r.Distinct(scoring.Accounts, today-100, 3600); n != 1 {
		t.Errorf("%v accounts", n)
	}
	if got, want := r.LastSeen(), unix(today-100); got != want {
		t.Errorf("last seen %d s after now", got-want)
	}
	for i := byte(1); i < 5; i++ {
		if r.LinkedSince(hashing.LinkTag{i}) > unix(today-100) {
			t.Errorf("account %d is linked in the future", i)
		}
	}
}

// TestTypesHaveCodes holds the two lists of kinds of line against each other.
func TestTypesHaveCodes(t *testing.T) {
	seen := map[float64]bool{}
	for _, name := range hashing.Types() {
		code := scoring.TypeCode(name)
		if code != code || seen[code] {
			t.Errorf("%s has no code of its own", name)
		}
		seen[code] = true
	}
}

func TestEntryRoundTrip(t *testing.T) {
	e := Entry{
		ID: NewEventID(7, 8), Kind: scoring.Signup, Verified: true, Holdout: true, Given: true, Time: -5,
		Subjects: subjects(), Link: hashing.LinkTag{1}, Prev: 3, Generation: 2, Verdict: scoring.Review, Score: 61,
		Policy: 4, Values: []float64{0, 1.5, 300, -2},
	}
	e.SetOutcome(Outcome{Kind: scoring.Abuse, Time: 9, Source: "chargeback"})
	b := e.Append(nil)
	var got Entry
	if err := got.Decode(e.ID, b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Append(nil), b) || got.Outcome(scoring.Abuse).Source != "chargeback" || got.Subjects != e.Subjects {
		t.Errorf("got %+v", got)
	}
	for n := range b {
		if err := got.Decode(e.ID, b[:n]); err == nil {
			t.Errorf("%d of %d bytes are an entry", n, len(b))
		}
	}
}

// TestReportsAreBounded holds that an entry keeps the newest of each matter whatever else is told of it.
func TestReportsAreBounded(t *testing.T) {
	e := Entry{ID: NewEventID(7, 8), Kind: scoring.Signup, Subjects: subjects()}
	e.Report(Report{Seq: 8}) // an unlink
	e.Report(Report{Outcome: Outcome{Kind: scoring.Verified}, Seq: 9})
	for i := range 3 * MaxReports {
		e.Report(Report{Outcome: Outcome{Kind: []scoring.Event{scoring.Abuse, scoring.Legitimate}[i%2]}, Seq: Seq(10 + i)})
	}
	all := e.Reports()
	if len(all) != MaxReports || all[0].Seq != 8 || all[1].Seq != 9 || all[2].Seq != 10+2*MaxReports+2 || all[MaxReports-1].Seq != 10+3*MaxReports-1 {
		t.Errorf("%d reports: %+v", len(all), all)
	}
	e.Report(Report{Outcome: Outcome{Kind: scoring.Legitimate, Source: "again"}, Seq: 1000})
	if e.Outcome(scoring.Abuse).Source != "" {
		t.Error("who told first is no longer known")
	}
	if e.Outcome(scoring.Abuse).Kind != scoring.Legitimate || e.Outcome(scoring.Unverified).Kind != scoring.Verified {
		t.Errorf("outcomes %+v", e.Outcomes())
	}
	if err := new(Entry).Decode(e.ID, e.Append(nil)); err != nil {
		t.Error(err)
	}
}

func TestEventIDText(t *testing.T) {
	a, b := NewEventID(1, 5), NewEventID(2, 0)
	if a.String() >= b.String() {
		t.Error("texts do not sort as ids do")
	}
	if got, err := ParseEventID(a.String()); got != a || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "x", a.String() + "0", "ZZZZZZZZZZZZZZZZZZZZZZZZZZ", a.String()[:25] + "v"} {
		if _, err := ParseEventID(bad); err == nil {
			t.Errorf("%q is an id", bad)
		}
	}
}

func FuzzLoad(f *testing.F) {
	all := subjects()
	var r Record
	f.Add([]byte{})
	for i := range Time(100) {
		m := NewMark(scoring.Signup, 1000+i, 1000+i, Seq(i), &all, "GB")
		r.Apply(hashing.Phone, &m)
		r.Link(hashing.LinkTag{byte(i)}, 1000, 3)
		r.SetList(uint16(i%4), int64(i))
		f.Add(bytes.Clone(r.Bytes()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Record
		if r.Load(b) != nil {
			return
		}
		m := NewMark(scoring.Signup, 2000, 2000, 9, &all, "GB")
		r.Apply(hashing.Phone, &m)
		r.Link(hashing.LinkTag{1}, 2000, 0)
		r.Unlink(hashing.LinkTag{2})
		r.SetList(1, 0)
		r.DropList(2)
		r.label(scoring.Abuse, 1)
		if err := new(Record).Load(r.Bytes()); err != nil {
			t.Errorf("a record is malformed after edits: %v", err)
		}
		r.Release()
		if err := new(Record).Load(r.Bytes()); err != nil || !r.Empty() {
			t.Errorf("after release: %v", err)
		}
	})
}

// FuzzEntry holds that whatever is read as a line of the log or the journal is read as the same once it is written again.
func FuzzEntry(f *testing.F) {
	files, err := filepath.Glob("testdata/e*.hex")
	if err != nil || len(files) < 10 {
		f.Fatal(len(files), "fixtures:", err)
	}
	for _, file := range files {
		f.Add(readGolden(f, strings.TrimSuffix(filepath.Base(file), ".hex")))
	}
	id := NewEventID(1234, 5678)
	f.Fuzz(func(t *testing.T, b []byte) {
		var e, again Entry
		if e.Decode(id, b) == nil {
			written := e.Append(nil)
			if err := again.Decode(id, written); err != nil || !bytes.Equal(again.Append(nil), written) {
				t.Errorf("an entry becomes another: %+v, %+v, %v", e, again, err)
			}
		}
		var x, after Effect
		if x.Decode(7, b) == nil {
			if err := after.Decode(7, x.Append(nil)); err != nil || after != x {
				t.Errorf("an effect becomes another: %+v, %+v, %v", x, after, err)
			}
		}
	})
}

// BenchmarkRecord is what an event does to each of its subjects: load, count,
// and hand back, for a phone that has seen a hundred.
func BenchmarkRecord(b *testing.B) {
	var r Record
	if err := r.Load(nil); err != nil {
		b.Fatal(err)
	}
	subjects := hashing.Subjects{}
	subjects[hashing.Phone] = hashing.Subject{Kind: hashing.Phone, Key: 1, ID: [16]byte{1}}
	apply := func(i int) {
		account := hashing.Subject{Kind: hashing.Account, Key: 1}
		binary.BigEndian.PutUint32(account.ID[12:], uint32(i)*2654435761) // spread, as pseudonyms are
		subjects[hashing.Account] = account
		at := Time(1000 + i)
		mark := NewMark(scoring.Signup, at, at, Seq(i+1), &subjects, "US")
		r.Apply(hashing.Phone, &mark)
	}
	for i := range 100 {
		apply(i)
	}
	stored := append([]byte(nil), r.Bytes()...)
	b.ReportAllocs()
	i := 100
	for b.Loop() {
		if err := r.Load(stored); err != nil {
			b.Fatal(err)
		}
		apply(i)
		i++
		stored = append(stored[:0], r.Bytes()...)
	}
}

// TestEditsKeepTheOtherSections makes sections longer, shorter, new and none, in place and elsewhere, and holds all of
// them against plain copies.
func TestEditsKeepTheOtherSections(t *testing.T) {
	random := rand.New(rand.NewPCG(21, 22))
	for range 200 {
		var r Record
		want := map[byte][]byte{}
		for range 60 {
			id := byte(1 + random.IntN(8))
			size := []int{0, 1, random.IntN(40), random.IntN(400)}[random.IntN(4)]
			elsewhere := random.IntN(4) == 0
			next := make([]byte, size)
			for i := range next {
				next[i] = byte(random.Uint32())
			}
			r.edit(id, func(b []byte) []byte {
				if !bytes.Equal(b, want[id]) {
					t.Fatalf("section %d is not what it was left as", id)
				}
				if elsewhere {
					return next
				}
				return append(b[:0], next...)
			})
			if want[id] = next; size == 0 {
				delete(want, id)
			}
			checkSections(t, &r, want)
		}
	}
}

func checkSections(t *testing.T, r *Record, want map[byte][]byte) {
	t.Helper()
	size := headSize
	for id, b := range want {
		if size += 1 + len(b); !bytes.Equal(r.body(id), b) {
			t.Fatalf("section %d: %d bytes, want %d, or others", id, len(r.body(id)), len(b))
		}
	}
	if len(r.b) != size || len(r.sections) != len(want) {
		t.Fatalf("%d bytes in %d sections, want %d in %d", len(r.b), len(r.sections), size, len(want))
	}
}
