package hashing

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nyaruka/phonenumbers/v2"
)

// differs reads an input with the plan and with the library alone. It returns "" if
// nobody could tell one from the other.
func differs(raw, region string) string {
	var fast, slow number
	err := fast.read(raw, region)
	want := readSlowly(&slow, raw, region)
	switch {
	case err != want: //nolint:errorlint // the very same error
		return fmt.Sprintf("%q (%s): %v, the library says %v", raw, region, err, want)
	case err == nil && fast != slow:
		return fmt.Sprintf("%q (%s): %s %s %d, the library says %s %s %d",
			raw, region, fast.text(), fast.region, fast.kind, slow.text(), slow.region, slow.kind)
	}
	return ""
}

// readSlowly is read as it was before there was a plan.
func readSlowly(n *number, raw, region string) error {
	switch {
	case raw == "":
		return ErrEmpty
	case len(raw) > MaxNumberSize:
		return ErrTooLong
	}
	return n.readAny(raw, region)
}

// compare runs differs over one in every so many inputs on all processors. It returns how many inputs there
// were. Of those that the plan leaves to the library it takes one in 16: to read twice in the same way says little.
func compare(t *testing.T, every int, inputs func(yield func(raw, region string))) int {
	t.Helper()
	type input struct{ raw, region string }
	batches := make(chan []input)
	var failed atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for batch := range batches {
				for i, in := range batch {
					if i%16 != 0 && !planReads(in.raw) {
						continue
					}
					if what := differs(in.raw, in.region); what != "" && failed.Add(1) <= 20 {
						t.Error(what)
					}
				}
			}
		})
	}
	count := 0
	var batch []input
	inputs(func(raw, region string) {
		if count++; count%every != 0 {
			return
		}
		if batch = append(batch, input{raw, region}); len(batch) == 256 {
			batches <- batch
			batch = nil
		}
	})
	batches <- batch
	close(batches)
	wg.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of %d inputs are read in another way than by the library", n, count)
	}
	return count
}

func planReads(raw string) bool {
	var n number
	if raw == "" || len(raw) > MaxNumberSize {
		return false
	}
	ok, _ := n.plain(raw)
	return ok
}

// A state as the tests count them: from 0.
func answerOf(state int) int     { return int(plan[statesAt+state*stateSize]) }
func after(state, digit int) int { return int(plan[statesAt+state*stateSize+1+digit]) / unit }
func stateCount() int            { return (len(plan) - statesAt) / stateSize }

// behind returns the state behind three digits, and the country that numbers with them are of, 0 for none.
func behind(three int) (state, country int) {
	start := plan[startsAt+2*three:][:2]
	return int(start[0]) / unit, int(start[1])
}

// callingCodes returns the calling codes in the order of the plan's countries.
func callingCodes() []string {
	var all []string
	for code := range phonenumbers.GetSupportedCallingCodes() {
		all = append(all, fmt.Sprint(code))
	}
	slices.Sort(all)
	return all
}

// toValid returns for every state a digit that leads the shortest way to a number that exists, and how long the
// way is: 0 where one ends, -1 if there is none.
func toValid() (digit, dist []int) {
	digit, dist = make([]int, stateCount()), make([]int, stateCount())
	for s := range dist {
		dist[s] = -1
	}
	for long := 0; long <= maxPlanDigits; long++ {
		for s := range dist {
			if long == 0 && answerOf(s) > notInUse {
				dist[s] = 0
			}
			for d := 0; d < 10 && long > 0 && dist[s] < 0; d++ {
				if dist[after(s, d)] == long-1 {
					digit[s], dist[s] = d, long
				}
			}
		}
	}
	return digit, dist
}

// walker goes through the whole plan.
type walker struct {
	*rand.Rand
	yield       func(raw, region string)
	seen        map[[2]int]bool // country and state
	digit, dist []int           // of toValid
	steps       int
}

// walk goes every way from a state of a country that nobody came by yet.
func (w *walker) walk(country, state int, path []byte) {
	at := [2]int{country, state}
	if w.seen[at] {
		return
	}
	w.seen[at] = true
	for d := 0; d < 10 && len(path) < maxPlanDigits; d++ {
		to, text := after(state, d), append(slices.Clone(path), byte('0'+d))
		w.steps++
		w.try(to, text)
		w.walk(country, to, text)
	}
}

// try yields some digits and a number that begins with them: one that exists, and now and then, or where
// there is none, any.
func (w *walker) try(state int, text []byte) {
	if len(text) >= minPlanDigits {
		w.yield("+"+string(text), "")
	}
	end := slices.Clone(text)
	for s := state; w.dist[s] > 0; s = after(s, w.digit[s]) {
		end = append(end, byte('0'+w.digit[s]))
	}
	exists := w.dist[state] >= 0 && len(end) >= minPlanDigits && len(end) <= maxPlanDigits
	if exists {
		w.yield("+"+string(end), "")
	}
	if !exists || w.IntN(4) == 0 {
		size := max(minPlanDigits, len(text)+w.IntN(maxPlanDigits-len(text)+1))
		for len(text) < size {
			text = append(text, byte('0'+w.IntN(10)))
		}
		w.yield("+"+string(text), "")
	}
}

// TestPlanAgreesOnEveryStep goes every way from every state of every country, and on to the
// end of a number.
func TestPlanAgreesOnEveryStep(t *testing.T) {
	t.Parallel()
	Warm()
	w := &walker{Rand: rand.New(rand.NewPCG(1, 2)), seen: map[[2]int]bool{}}
	w.digit, w.dist = toValid()
	count := compare(t, share, func(yield func(raw, region string)) {
		w.yield = yield
		for three := range 1000 {
			text := fmt.Append(nil, 1000+three)[1:]
			if first, country := behind(three); country > 0 {
				w.try(first, text)
				w.walk(country, first, text)
			}
		}
	})
	states := map[int]bool{}
	for at := range w.seen {
		states[at[1]] = true
	}
	t.Logf("%d states, %d steps, %d comparisons", len(states), w.steps, count)
	if len(states) != stateCount() {
		t.Errorf("%d of %d states seen", len(states), stateCount())
	}
}

// TestPlanAgreesOnExamples takes what the library gives as examples of every region and type, and
// the same with one digit more, fewer, or another one.
func TestPlanAgreesOnExamples(t *testing.T) {
	t.Parallel()
	Warm()
	var examples []*phonenumbers.PhoneNumber
	for region := range phonenumbers.GetSupportedRegions() {
		for kind := range typeNames {
			examples = append(examples, phonenumbers.GetExampleNumberForTypeInRegion(region, phonenumbers.PhoneNumberType(kind)))
		}
	}
	for code := range phonenumbers.GetSupportedGlobalNetworkCallingCodes() {
		examples = append(examples, phonenumbers.GetExampleNumberForNonGeoEntity(code))
	}
	numbers, answered := 0, 0
	compare(t, share, func(yield func(raw, region string)) {
		for _, example := range examples {
			if example == nil {
				continue
			}
			numbers++
			text := phonenumbers.Format(example, phonenumbers.E164)
			if planReads(text) {
				answered++
			}
			yield(text, "")
			yield(phonenumbers.Format(example, phonenumbers.INTERNATIONAL), "")
			yield(text[:len(text)-1], "")
			for d := '0'; d <= '9'; d++ {
				yield(text+string(d), "")
				at := int(d-'0') % (len(text) - 1)
				yield(text[:1+at]+string(d)+text[2+at:], "")
			}
		}
	})
	t.Logf("%d examples, %d of them read by the plan", numbers, answered)
	if numbers < 1300 || answered < numbers*95/100 {
		t.Errorf("of %d examples the plan reads %d", numbers, answered)
	}
}

// TestPlanAgreesOnTheTable takes the renderings that people use of the examples of all plans.
func TestPlanAgreesOnTheTable(t *testing.T) {
	t.Parallel()
	Warm()
	lines := bufio.NewScanner(dataFile(t, "normalise_examples.tsv.gz"))
	lines.Scan() // header
	count := compare(t, share, func(yield func(raw, region string)) {
		for lines.Scan() {
			f := strings.Split(lines.Text(), "\t")
			yield(f[0], f[1])
			yield(f[2], f[1])
		}
	})
	if count != 2*7749 {
		t.Errorf("%d inputs", count)
	}
}

// randomInputs is how many inputs are compared.
const randomInputs = 1_000_000 / share

// TestPlanAgreesAtRandom takes numbers that exist and numbers near those, in many spellings, and
// what looks a little like one.
func TestPlanAgreesAtRandom(t *testing.T) {
	t.Parallel()
	Warm()
	count := randomInputs
	if testing.Short() {
		count /= 20
	}
	w := newWriter(3)
	answered := 0
	compare(t, 1, func(yield func(raw, region string)) {
		for range count {
			raw, region := w.input()
			if planReads(raw) {
				answered++
			}
			yield(raw, region)
		}
	})
	t.Logf("the plan reads %d of %d", answered, count)
	if answered < count/2 || answered > count*95/100 {
		t.Errorf("the plan reads %d of %d: nothing is compared on one side", answered, count)
	}
}

func FuzzPlan(f *testing.F) {
	for _, raw := range []string{
		"+12025550143", "+1 (202) 555-0143", "+1.202.555.0143", "+1 1 202 555 0143", "+44 (0)20 7946 0123", "+390612345678", "+54 11 15 2345 6789",
		"+7 800 555 01 43", "+80012345678", "+ 1/202/555/0143 ", "+1 202 555 0143/x5", "+1 202 555 0143 -5#", "+0012025550143", "+(", "++12025550143",
	} {
		f.Add(raw, "")
		f.Add(raw, "US")
	}
	f.Fuzz(func(t *testing.T, raw, region string) {
		if what := differs(raw, region); what != "" {
			t.Error(what)
		}
	})
}

// TestPlanOfOtherMetadataIsNotUsed holds that a program linked with another version of the library asks the library.
func TestPlanOfOtherMetadataIsNotUsed(t *testing.T) {
	if !usable {
		t.Fatal("the plan is not of the metadata that it is linked with")
	}
	usable = false
	t.Cleanup(func() { usable = true })
	var n number
	if ok, _ := n.plain("+12025550143"); ok {
		t.Error("the plan was asked")
	}
	if what := differs("+12025550143", ""); what != "" {
		t.Error(what)
	}
}

func BenchmarkParseCanonical(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("+12025550143", ""); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseSeparated(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("+1 (202) 555-0143", ""); err != nil {
			b.Fatal(err)
		}
	}
}

// keep is where a Number goes that is passed on.
var keep Number

// BenchmarkParseKept is the same for a Number that outlives its reader: one allocation.
func BenchmarkParseKept(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		n, err := Parse("+12025550143", "")
		if err != nil {
			b.Fatal(err)
		}
		keep = n
	}
}

func BenchmarkNormaliseAndHash(b *testing.B) {
	h := testHasher(b)
	b.ReportAllocs()
	for b.Loop() {
		n, err := Parse("+12025550143", "")
		if err != nil {
			b.Fatal(err)
		}
		_ = h.Phone(n)
	}
}
