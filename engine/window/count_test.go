package window

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// countBetween is what Count should say, by looking at every event.
func countBetween(times []Time, now Time, seconds uint32) float64 {
	n := 0
	for _, t := range times {
		if int64(t) > int64(now)-int64(seconds) && t <= now {
			n++
		}
	}
	return float64(n)
}

func TestCountIsExactUpTo32AndWithin64thBeyond(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		gap := rapid.SampledFrom([]uint32{0, 1, 2, 60, 3600}).Draw(rt, "longest gap")
		var b []byte
		var times []Time
		now := Time(1_000_000)
		for range rapid.IntRange(0, 3000).Draw(rt, "events") {
			now += rand.Uint32N(gap + 1)
			times = append(times, now)
			b, _ = AddCount(b, now)
		}
		for range 50 {
			seconds := rapid.Uint32Range(1, now-1_000_000+2).Draw(rt, "window")
			checkCount(rt, b, times, now, seconds)
		}
		if got := Total(b); got != uint64(len(times)) {
			rt.Fatalf("total: got %d, want %d", got, len(times))
		}
		if n, ok := CountSize(append(slices.Clone(b), 1, 2, 3)); len(b) > 0 && (!ok || n != len(b)) {
			rt.Fatalf("size: got %d, %v, want %d", n, ok, len(b))
		}
	})
}

func checkCount(t interface{ Fatalf(string, ...any) }, b []byte, times []Time, now Time, seconds uint32) float64 {
	got, want := Count(b, now, seconds), countBetween(times, now, seconds)
	off := got - want
	if want <= 32 && off != 0 || off*64 > want || -off*64 > want {
		t.Fatalf("window of %d s: got %v, want %v", seconds, got, want)
	}
	return max(off, -off) / max(want, 1)
}

func TestCountOfAMillionEventsStaysWithinTheBound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var b []byte
	var times []Time
	now := Time(1_000_000)
	for range 1_000_000 {
		if random.IntN(10) == 0 {
			now += uint32(random.ExpFloat64() * 20)
		}
		times = append(times, now)
		b, _ = AddCount(b, now)
	}
	worst := 0.0
	for i := range 400 {
		seconds := random.Uint32N(now-1_000_000) + 1
		if i%2 == 0 {
			seconds = random.Uint32N(5000) + 1
		}
		worst = max(worst, checkCount(t, b, times, now, seconds))
	}
	if worst < 1.0/500 {
		t.Errorf("the largest error seen is %.4f: these windows do not try the bound of %.4f", worst, 1.0/64)
	}
	if len(b) > 2200 {
		t.Errorf("a million events take %d bytes", len(b))
	}
}

func TestOneEventTakesFiveBytes(t *testing.T) {
	b, placed := AddCount(nil, 77)
	if len(b) != 5 || !placed {
		t.Errorf("got %d bytes, placed %v", len(b), placed)
	}
}

func TestAnEarlierEventIsPlacedWhileLevelZeroReachesBack(t *testing.T) {
	var b []byte
	for i := range Time(33) {
		b, _ = AddCount(b, 1000+i*10)
	}
	b, placed := AddCount(b, 5) // nothing has been merged yet
	if !placed || Count(b, 2000, 2000) != 34-0.5 {
		t.Fatalf("before a merge: placed %v, count %v", placed, Count(b, 2000, 2000))
	}
	// The merge left 32 entries, the oldest of which is the event at 1010.
	if b, placed = AddCount(b, 1015); !placed || Count(b, 1330, 321) != 33 {
		t.Errorf("inside level 0: placed %v, count %v", placed, Count(b, 1330, 321))
	}
	before := Count(b, 2000, 2000)
	b, placed = AddCount(b, 3)
	if placed || Count(b, 2000, 2000) != before {
		t.Errorf("too old: placed %v, count %v, before %v", placed, Count(b, 2000, 2000), before)
	}
	if got := Total(b); got != 36 {
		t.Errorf("total: got %d, want 36", got)
	}
}

func TestAJumpingClockLeavesNothingFrozen(t *testing.T) {
	const year = 365 * 24 * 3600
	for _, jump := range []int64{-3600, 3600, 10 * year} {
		now := Time(200_000_000)
		var b []byte
		for range 40 {
			b, _ = AddCount(b, now)
		}
		for range 40 {
			b, _ = AddCount(b, Time(int64(now)+jump))
		}
		if got := Count(b, now, 7200); got < 0 {
			t.Errorf("jump of %d s: negative count %v", jump, got)
		}
		now++
		b = Retime(b, now)
		if _, ok := CountSize(b); !ok {
			t.Fatalf("jump of %d s: malformed", jump)
		}
		if got := Count(b, now, 7200); jump > 0 && got < 79 {
			t.Errorf("jump of %d s: %v of 80 events counted after the clock came back", jump, got)
		}
		if got := Total(b); got != 80 {
			t.Errorf("jump of %d s: total %d", jump, got)
		}
	}
}

func TestCountDoesNotAllocate(t *testing.T) {
	b := make([]byte, 0, 4096)
	now := Time(0)
	if n := testing.AllocsPerRun(2000, func() {
		now++
		b, _ = AddCount(b, now)
		_ = Count(b, now, 100)
		_ = Total(b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzCount(f *testing.F) {
	for _, n := range []int{0, 1, 33, 34, 200} {
		var b []byte
		for i := range n {
			b, _ = AddCount(b, Time(i))
		}
		f.Add(b, uint32(150), uint32(60))
	}
	f.Add([]byte{0x81, 33}, uint32(1), uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, now, seconds uint32) {
		n, ok := CountSize(b)
		if !ok {
			return
		}
		b = slices.Clone(b[:n])
		if got := Count(b, now, seconds); got < 0 {
			t.Errorf("count %v", got)
		}
		total := Total(b)
		b, _ = AddCount(b, now)
		if got := Total(b); got < total {
			t.Errorf("total fell from %d to %d", total, got)
		}
		if n, ok := CountSize(b); !ok || n != len(b) {
			t.Errorf("size %d, %v after an addition, want %d", n, ok, len(b))
		}
		if n, ok := CountSize(Retime(b, now/2)); !ok || n != len(b) {
			t.Errorf("size %d, %v after retiming, want %d", n, ok, len(b))
		}
	})
}

func BenchmarkAddCount(b *testing.B) {
	buf := make([]byte, 0, 4096)
	now := Time(0)
	b.ReportAllocs()
	for b.Loop() {
		now++
		buf, _ = AddCount(buf, now)
	}
}

func BenchmarkCount(b *testing.B) {
	for _, n := range []int{1, 32, 100_000} {
		var buf []byte
		for i := range n {
			buf, _ = AddCount(buf, Time(i))
		}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = Count(buf, Time(n), 3600)
			}
		})
	}
}

// TestPutCountIsAddCount holds that an event which is put in its place leaves the same bytes as one that is added.
func TestPutCountIsAddCount(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	placed := 0
	for range 50 {
		var b []byte
		at := Time(1000)
		for range 300 {
			at += Time(r.IntN(40))
			when := at - Time(r.IntN(2)*r.IntN(3000))%at
			want, _ := AddCount(bytes.Clone(b), when)
			if place, ok := CountPlace(b, when); ok {
				placed++
				got := slices.Insert(bytes.Clone(b), place, make([]byte, CountEntry)...)
				if PutCount(got, place, when); !bytes.Equal(got, want) {
					t.Fatalf("put: %x, added: %x", got, want)
				}
			}
			b = want
		}
	}
	if placed < 5000 {
		t.Errorf("%d of 15000 had a place", placed)
	}
}

// TestTurningIsAdding holds TurnCount against AddCount: the same bytes where it does anything, and otherwise none changed.
func TestTurningIsAdding(t *testing.T) {
	turned, shortened := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		var b []byte
		now := Time(1_000_000)
		for range rapid.IntRange(0, 2000).Draw(rt, "events") {
			now += rand.Uint32N(3)
			at := now - rand.Uint32N(40)*rand.Uint32N(2)
			before := slices.Clone(b)
			after, placed := AddCount(slices.Clone(b), at)
			turning, done := TurnCount(b, at)
			if !done {
				if !bytes.Equal(turning, before) {
					rt.Fatal("it turned nothing, and changed something")
				}
				b = after
				continue
			}
			if turned++; !placed || !bytes.Equal(turning, after) {
				rt.Fatalf("after an event at %d, %d ago: %x, want %x, placed %v", at, now-at, turning, after, placed)
			}
			if len(after) < len(before) {
				shortened++
			}
			b = after
		}
	})
	if turned < 1000 || shortened < 500 {
		t.Errorf("it turned %d times only, and became shorter %d times", turned, shortened)
	}
}
