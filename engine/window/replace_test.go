package window

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// TestReplacedMembersStayOne gives members other tags while they go on being seen, by the new tag from then on: counts are what
// they would have been, exactly up to 64.
func TestReplacedMembersStayOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		tags := make([]uint32, rapid.IntRange(1, 300).Draw(rt, "members"))
		for i := range tags {
			tags[i] = random.Uint32()
		}
		var b []byte
		last := map[int]Time{}
		now := Time(1_000_000)
		for range rapid.IntRange(0, 1200).Draw(rt, "events") {
			now += random.Uint32N(5)
			who := random.IntN(len(tags))
			if random.IntN(4) == 0 {
				next := random.Uint32()
				b, _ = ReplaceMember(b, tags[who], next)
				tags[who] = next
			}
			last[who] = now
			b = AddMember(b, tags[who], now)
		}
		for range 30 {
			seconds := rapid.Uint32Range(1, now-1_000_000+200).Draw(rt, "window")
			want := 0
			for _, at := range last {
				if int64(at) > int64(now)-int64(seconds) {
					want++
				}
			}
			if got := Distinct(b, now, seconds); want <= 64 && got != float64(want) {
				rt.Fatalf("window of %d s: got %v, want %d", seconds, got, want)
			}
		}
		if n, ok := DistinctSize(b); len(b) > 0 && (!ok || n != len(b)) {
			rt.Fatalf("size: got %d, %v, want %d", n, ok, len(b))
		}
	})
}

func TestReplaceOfAnUnknownMember(t *testing.T) {
	b := AddMember(nil, 7, 100)
	if after, known := ReplaceMember(b, 8, 9); known || Distinct(after, 100, 10) != 1 {
		t.Error("a member that is not known was replaced")
	}
	b = AddMember(b, 8, 101)
	if after, known := ReplaceMember(b, 7, 8); !known || Distinct(after, 101, 10) != 1 {
		t.Error("two tags of one member are two")
	}
	if _, known := ReplaceMember(nil, 1, 2); known {
		t.Error("none has a member")
	}
}
