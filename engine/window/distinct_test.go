package window

import (
	"bytes"
	"encoding/hex"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

// seenBetween is what Distinct should say, from every member's last-seen time.
func seenBetween(last map[uint32]Time, now Time, seconds uint32) int {
	n := 0
	for _, t := range last {
		if int64(t) > int64(now)-int64(seconds) && t <= now {
			n++
		}
	}
	return n
}

func TestDistinctIsExactUpTo64(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		tags := make([]uint32, rapid.IntRange(1, 400).Draw(rt, "members"))
		for i := range tags {
			tags[i] = random.Uint32()
		}
		lateness := rapid.SampledFrom([]uint32{0, 0, 100}).Draw(rt, "lateness")
		var b []byte
		last := map[uint32]Time{}
		now := Time(1_000_000)
		for range rapid.IntRange(0, 1500).Draw(rt, "events") {
			now += random.Uint32N(5)
			tag, at := tags[random.IntN(len(tags))], now-random.Uint32N(lateness+1)
			last[tag] = max(last[tag], at)
			b = AddMember(b, tag, at)
		}
		for range 40 {
			seconds := rapid.Uint32Range(1, now-1_000_000+200).Draw(rt, "window")
			want := seenBetween(last, now, seconds)
			if got := Distinct(b, now, seconds); want <= 64 && got != float64(want) {
				rt.Fatalf("window of %d s: got %v, want %d", seconds, got, want)
			}
		}
		if n, ok := DistinctSize(append(slices.Clone(b), 9, 9)); len(b) > 0 && (!ok || n != len(b)) {
			rt.Fatalf("size: got %d, %v, want %d", n, ok, len(b))
		}
	})
}

func TestDistinctErrorBeyond64(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	sum, n := 0.0, 0
	for range 300 {
		var b []byte
		members := 100 + random.IntN(5000)
		for i := range members {
			b = AddMember(b, random.Uint32(), Time(1000+i))
		}
		now := Time(1000 + members)
		for _, part := range []int{1, 2, 5} {
			want := members / part
			if want <= 64 {
				continue
			}
			off := Distinct(b, now, uint32(want)+1)/float64(want) - 1
			sum, n = sum+off*off, n+1
		}
	}
	if rms := math.Sqrt(sum / float64(n)); rms > 0.16 || rms < 0.05 {
		t.Errorf("root mean square error of %d windows: %.3f", n, rms)
	}
}

func TestOneMemberTakesNineBytes(t *testing.T) {
	if b := AddMember(nil, 1, 2); len(b) != 9 {
		t.Errorf("got %d bytes", len(b))
	}
}

func TestAMemberSeenAgainMoves(t *testing.T) {
	b := AddMember(nil, 7, 100)
	b = AddMember(b, 8, 150)
	b = AddMember(b, 7, 200)
	b = AddMember(b, 7, 50) // earlier than known: changes nothing
	if got := Distinct(b, 200, 50); got != 1 {
		t.Errorf("last 50 s: got %v, want 1", got)
	}
	if got := Distinct(b, 200, 51); got != 2 {
		t.Errorf("last 51 s: got %v, want 2", got)
	}
}

func TestRetimedMembersAreCountedAgain(t *testing.T) {
	var b []byte
	for i := range uint32(200) {
		b = AddMember(b, i*0x9e3779b9, 1_000_000+i)
	}
	now := Time(500)
	b = RetimeMembers(b, now)
	if n, ok := DistinctSize(b); !ok || n != len(b) {
		t.Fatalf("malformed after retiming")
	}
	if got := Distinct(b, now, 100); got < 120 || got > 280 {
		t.Errorf("got %v of 200", got)
	}
}

func TestDistinctDoesNotAllocate(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	b := make([]byte, 0, 32<<10)
	now := Time(0)
	if n := testing.AllocsPerRun(5000, func() {
		now++
		b = AddMember(b, random.Uint32(), now)
		_ = Distinct(b, now, 100)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestGolden holds the layout: a store written today must be read for ever.
func TestGolden(t *testing.T) {
	var count, distinct []byte
	for i := range Time(120) {
		count, _ = AddCount(count, 1000+i)
		distinct = AddMember(distinct, i*0x9e3779b9, 2000+i)
	}
	count, _ = AddCount(count, 1)
	for name, b := range map[string][]byte{"count": count, "distinct": distinct} {
		file := "testdata/" + name + ".hex"
		if *update {
			if err := os.WriteFile(file, []byte(hex.EncodeToString(b)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(b); got != string(bytes.TrimSpace(want)) {
			t.Errorf("%s: the layout changed", name)
		}
	}
}

func FuzzDistinct(f *testing.F) {
	for _, n := range []uint32{0, 1, 64, 65, 300} {
		var b []byte
		for i := range n {
			b = AddMember(b, i*0x9e3779b9, i)
		}
		f.Add(b, uint32(5), uint32(150), uint32(60))
	}
	f.Add([]byte{0x82, 64, 1}, uint32(1), uint32(1), uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, tag, now, seconds uint32) {
		n, ok := DistinctSize(b)
		if !ok {
			return
		}
		b = AddMember(slices.Clone(b[:n]), tag, now)
		if got := Distinct(b, now, seconds); got < 0 {
			t.Errorf("distinct %v", got)
		}
		if n, ok := DistinctSize(b); !ok || n != len(b) {
			t.Errorf("size %d, %v after an addition, want %d", n, ok, len(b))
		}
		if n, ok := DistinctSize(RetimeMembers(b, now/2)); !ok || n != len(b) {
			t.Errorf("size %d, %v after retiming, want %d", n, ok, len(b))
		}
	})
}

// TestTouchMemberIsAddMember holds the short way against the long one, on members that are
// new, known, late and of every rarity.
func TestTouchMemberIsAddMember(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	var long, short []byte
	done := 0
	for i := range 60_000 {
		tag := random.Uint32() >> random.IntN(20)
		if random.IntN(2) == 0 {
			tag = mixed(random.Uint32N(100))
		}
		at := Time(1000+i/3) - random.Uint32N(50)
		long = AddMember(long, tag, at)
		if TouchMember(short, tag, at) {
			done++
		} else {
			short = AddMember(short, tag, at)
		}
		if !slices.Equal(long, short) {
			t.Fatalf("member %d: %x, the long way %x", i, short, long)
		}
	}
	if done < 30_000 {
		t.Errorf("only %d members went the short way", done)
	}
}

// mixed spreads a small number over 32 bits.
func mixed(n uint32) uint32 {
	n = (n + 1) * 0x9e3779b9
	return n ^ n>>15
}

func BenchmarkTouchMember(b *testing.B) {
	random := rand.New(rand.NewPCG(5, 6))
	var buf []byte
	for i := range 100_000 {
		buf = AddMember(buf, random.Uint32(), Time(i))
	}
	now := Time(100_000)
	b.ReportAllocs()
	for b.Loop() {
		now++
		if tag := random.Uint32(); !TouchMember(buf, tag, now) {
			buf = AddMember(buf, tag, now)
		}
	}
}

func BenchmarkAddMember(b *testing.B) {
	random := rand.New(rand.NewPCG(5, 6))
	buf := make([]byte, 0, 32<<10)
	now := Time(0)
	b.ReportAllocs()
	for b.Loop() {
		now++
		buf = AddMember(buf, random.Uint32(), now)
	}
}

func BenchmarkDistinct(b *testing.B) {
	random := rand.New(rand.NewPCG(5, 6))
	var buf []byte
	for i := range 100_000 {
		buf = AddMember(buf, random.Uint32(), Time(i))
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = Distinct(buf, 100_000, 50_000)
	}
}

// TestPutMemberIsAddMember holds that a member which is put in its place leaves the same bytes as one that is added.
func TestPutMemberIsAddMember(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	placed := 0
	for range 200 {
		var b []byte
		at := Time(10_000)
		for range 100 {
			at += Time(r.IntN(40))
			tag, when := r.Uint32N(90)*0x9e3779b9, at-Time(r.IntN(2)*r.IntN(3000))
			want := AddMember(bytes.Clone(b), tag, when)
			touched := bytes.Clone(b)
			if TouchMember(touched, tag, when) {
				if !bytes.Equal(touched, want) {
					t.Fatalf("touched: %x, added: %x", touched, want)
				}
			} else if place, ok := MemberPlace(b, when); ok {
				placed++
				got := slices.Insert(bytes.Clone(b), place, make([]byte, MemberEntry)...)
				if PutMember(got, place, tag, when); !bytes.Equal(got, want) {
					t.Fatalf("put: %x, added: %x", got, want)
				}
			}
			b = want
		}
	}
	if placed < 8000 {
		t.Errorf("%d of 20000 had a place", placed)
	}
}
