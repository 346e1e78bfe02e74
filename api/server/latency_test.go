package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/api/access"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// most is how well latency may tell numbers apart that were seen from ones that were not: the
// area under the ROC curve of the best threshold classifier, 0.5 is a coin.
const most = 0.55

// latencyWorld is a store on a disk that has seen half of some fictional numbers, block by block.
type latencyWorld struct {
	dir          string
	ring         *hashing.Keyring
	hasher       *hashing.Hasher
	seen, unseen []string
	store        *pebblestore.Store
	engine       *engine.Engine
	random       *mathrand.Rand
}

func newLatencyWorld(t *testing.T, n int) *latencyWorld {
	t.Helper()
	ring, err := hashing.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	w := &latencyWorld{dir: t.TempDir(), ring: ring, hasher: hasher, random: mathrand.New(mathrand.NewPCG(1, 2))}
	for area := 201; area < 990 && (len(w.seen) < n || len(w.unseen) < n); area++ {
		into := &w.seen
		if len(w.seen) > len(w.unseen) {
			into = &w.unseen
		}
		for i := range 100 {
			text := fmt.Sprintf("+1%d55501%02d", area, i)
			if _, err := hashing.Parse(text, ""); err != nil {
				break // no such area
			}
			*into = append(*into, text)
		}
	}
	if len(w.seen) < n || len(w.unseen) < n {
		t.Fatalf("%d and %d numbers", len(w.seen), len(w.unseen))
	}
	for _, numbers := range [][]string{w.seen, w.unseen} {
		w.random.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
	}
	w.open(t)
	w.see(t)
	return w
}

// open opens the store anew, so that what it has seen is on the disk only.
func (w *latencyWorld) open(t *testing.T) {
	t.Helper()
	if w.store != nil {
		if err := w.store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if w.store, err = pebblestore.Open(w.dir, pebblestore.Options{Keys: w.ring.KeyChecks(), Create: true}); err != nil {
		t.Fatal(err)
	}
	if w.engine, err = engine.New(t.Context(), engine.Config{Store: w.store, Domain: w.hasher.Domain(), Policy: scoring.Default(), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
}

// see counts a few events of every number that is to be known.
func (w *latencyWorld) see(t *testing.T) {
	t.Helper()
	var wg sync.WaitGroup
	work := make(chan int)
	for range 64 {
		wg.Go(func() {
			for i := range work {
				n, err := hashing.Parse(w.seen[i], "")
				if err != nil {
					t.Error(err)
					return
				}
				for event := range 3 {
					ev := &engine.Event{Kind: scoring.SignIn}
					ev.Subjects[hashing.Phone], ev.Subjects[hashing.Range] = w.hasher.Phone(n), w.hasher.Range(n)
					ev.Subjects[hashing.Account] = w.hasher.Account(fmt.Sprintf("a%d-%d", i, event))
					ev.Number.Given, ev.Number.Valid = true, true
					if err := w.engine.Assess(context.Background(), ev, new(engine.Assessment)); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for i := range w.seen {
		work <- i
	}
	close(work)
	wg.Wait()
}

// measure asks about n numbers of each kind in random order, one after the other over one
// connection, and returns how long the answers took.
func (w *latencyWorld) measure(t *testing.T, n int, record bool) (seen, unseen []float64) {
	t.Helper()
	g := newGuarded(t, func(cfg *Config) { cfg.Engine, cfg.Hasher = w.engine, w.hasher })
	h := httptest.NewServer(g.Handler())
	defer h.Close()
	key := g.key(t, func(k *access.Key) { k.Rate.Most, k.DailySubjects = 1_000_000, 1_000_000 }, access.Assess)
	ask := func(number string) float64 {
		body := fmt.Sprintf(`{"event":"sign_in","phone_number":%q,"record":%v}`, number, record)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL+"/v1/assessments", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", key)
		began := time.Now()
		a, err := h.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(a.Body)
		took := time.Since(began)
		_ = a.Body.Close()
		if valid := !strings.HasPrefix(number, "+44"); err != nil || a.StatusCode != http.StatusOK || valid && !strings.Contains(string(text), `"decision":"allow"`) {
			t.Fatalf("status %d, %v, %s", a.StatusCode, err, text)
		}
		return took.Seconds()
	}
	for i := range 200 {
		ask(fmt.Sprintf("+4477009001%02d", i%100)) // warm up, on numbers of neither kind, which are not valid either
	}
	order := make([]bool, 2*n)
	for i := range n {
		order[i] = true
	}
	w.random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, known := range order {
		if known {
			seen = append(seen, ask(w.seen[len(seen)]))
		} else {
			unseen = append(unseen, ask(w.unseen[len(unseen)]))
		}
	}
	return seen, unseen
}

// auc is the chance that a seen number takes longer than an unseen one, or shorter, whichever is larger:
// the area under the ROC curve of a classifier that looks at latency alone (Mann-Whitney). With n of each kind and no difference,
// its standard error is sqrt((2n+1)/(12n^2)): 0.0041 for 10,000.
func auc(seen, unseen []float64) float64 {
	type sample struct {
		took float64
		seen bool
	}
	var all []sample
	for _, v := range seen {
		all = append(all, sample{v, true})
	}
	for _, v := range unseen {
		all = append(all, sample{v, false})
	}
	slices.SortFunc(all, func(a, b sample) int { return int(math.Copysign(1, a.took-b.took)) })
	ranks := 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].took == all[i].took {
			j++
		}
		for k := i; k < j; k++ {
			if all[k].seen {
				ranks += float64(i+j+1) / 2
			}
		}
		i = j
	}
	n, m := float64(len(seen)), float64(len(unseen))
	a := (ranks - n*(n+1)/2) / (n * m)
	return max(a, 1-a)
}

// TestLatencyTellsNothing asks with a key that may not read: about numbers in memory, and about numbers that
// lie on the disk only; looking and counting. 10,000 of each kind with RINGFENCE_LONG=1, otherwise 1,000.
func TestLatencyTellsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes seconds")
	}
	n := 1000
	if os.Getenv("RINGFENCE_LONG") == "1" {
		n = 10_000
	}
	w := newLatencyWorld(t, n)
	defer func() { _ = w.store.Close() }()
	for _, c := range []struct {
		name         string
		anew, record bool
	}{{"looking, in memory", false, false}, {"looking, on disk", true, false}, {"counting, on disk", true, true}} {
		if c.anew {
			w.open(t)
		}
		seen, unseen := w.measure(t, n, c.record)
		a := auc(seen, unseen)
		slices.Sort(seen)
		slices.Sort(unseen)
		t.Logf("%s: AUC %.4f with %d of each; medians %.1f and %.1f us", c.name, a, n, 1e6*seen[n/2], 1e6*unseen[n/2])
		if a > most {
			t.Errorf("%s: latency tells seen from unseen numbers: AUC %.4f", c.name, a)
		}
	}
}

func TestAnswersLeaveOnTheBeat(t *testing.T) {
	for _, took := range []time.Duration{0, 1, 6 * time.Microsecond, beat - 1, beat, beat + 1, 10*beat + beat/3} {
		for _, random := range []float64{0, 0.5, 0.999} {
			leaves := took + untilBeat(took, random)
			if early := leaves - time.Duration(random*float64(beat)); early%beat != 0 || early <= took || early > took+beat {
				t.Errorf("took %v, leaves at %v", took, leaves)
			}
		}
	}
}

func TestAUC(t *testing.T) {
	for _, c := range []struct {
		a, b []float64
		want float64
	}{
		{[]float64{1, 2}, []float64{3, 4}, 1}, {[]float64{3, 4}, []float64{1, 2}, 1}, {[]float64{1, 4}, []float64{2, 3}, 0.5},
		{[]float64{1, 1}, []float64{1, 1}, 0.5}, {[]float64{1, 2, 3}, []float64{2}, 0.5},
	} {
		if got := auc(c.a, c.b); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v and %v: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}
