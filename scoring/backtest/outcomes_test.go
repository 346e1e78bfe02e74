package backtest

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringfence/ringfence/engine/record"
)

// TestOutcomesComeInOrder holds that outcomes come by time and by event, whatever the order in which they were added, and each once with
// what belongs to it.
func TestOutcomesComeInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o outcomes
		var want []outcome
		now := int64(0)
		for n := range rapid.IntRange(1, 200).Draw(t, "events") {
			added := outcome{at: now + rapid.Int64Range(0, 20).Draw(t, "after"), seq: record.Seq(n), generation: uint32(n)}
			o.add(added)
			want = append(want, added)
			now += rapid.Int64Range(0, 3).Draw(t, "later")
			slices.SortFunc(want, func(a, b outcome) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.seq, b.seq)) })
			for o.by(now) {
				if got := *o.next(); len(want) == 0 || got != want[0] {
					t.Fatalf("at %d came the outcome of event %d, known at %d; of %v", now, got.seq, got.at, want)
				}
				want = want[1:]
			}
			if len(want) > 0 && want[0].at <= now {
				t.Fatalf("at %d, %d outcomes were kept back", now, len(want))
			}
		}
		if most := 64; len(o.all) > most {
			t.Fatalf("places for %d outcomes, of which at most %d are due later", len(o.all), most)
		}
	})
}
