package pebblestore

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// moment is a kind of operation on the disk at which to cut the power.
type moment struct {
	name  string
	among int // how many that match may pass by first
	match func() func(op, name string) bool

	opening func() func(op, name string) bool // instead: an operation while the store opens behind a first cut
}

func whenever(match func(op, name string) bool) func() func(op, name string) bool {
	return func() func(op, name string) bool { return match }
}

// all matches every operation.
var all = whenever(func(string, string) bool { return true })

// behind matches the operations of one sort that come behind one of another.
func behind(first, then func(op, name string) bool) func() func(op, name string) bool {
	return func() func(op, name string) bool {
		met := false
		return func(op, name string) bool {
			if first(op, name) {
				met = true
				return false
			}
			return met && then(op, name)
		}
	}
}

func isLog(_, name string) bool      { return strings.HasSuffix(name, ".log") }
func isLink(op, _ string) bool       { return op == "link" }
func isAside(_, name string) bool    { return strings.Contains(name, "/flush/") }
func isManifest(_, name string) bool { return strings.Contains(name, "MANIFEST") }
func isTable(_, name string) bool {
	return strings.HasSuffix(name, ".sst") && !strings.Contains(name, "/flush/")
}

// moments are drawn with equal weight: each is hit often, however rare its operations are.
var moments = []moment{
	{"any operation", 600, all, nil},
	{"the log is written or synced", 200, whenever(isLog), nil},
	{"a flush writes its tables aside", 60, whenever(isAside), nil},
	{"a table is taken over", 20, whenever(isLink), nil},
	{"behind a table that was taken over", 30, behind(isLink, func(op, _ string) bool { return op != "link" }), nil},
	{"the watermark or what follows a flush is logged", 10, behind(isLink, isLog), nil},
	{"the manifest is written or synced", 30, whenever(isManifest), nil},
	{"Pebble's own tables", 20, whenever(isTable), nil},
	{"while the store opens", 40, nil, all},
}

// places counts where the power was cut.
type places struct {
	mu   sync.Mutex
	seen map[string]int // guarded by mu
}

func (p *places) add(name string) {
	p.mu.Lock()
	p.seen[name]++
	p.mu.Unlock()
}

func (p *places) log(t *testing.T) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(p.seen)) {
		t.Logf("%5d: %s", p.seen[name], name)
	}
}

// TestPowerCuts cuts the power of one busy store after the other at a random operation,
// keeps a random share of
// what was not synced, opens what is left, and holds it against what was acknowledged before. What it finds then
// has to survive the next cut too.
func TestPowerCuts(t *testing.T) {
	const perStore = 12
	n := rounds(48, 1000, 100_000)
	where := &places{seen: map[string]int{}}
	first := rand.Uint64()
	var next atomic.Uint64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i*perStore < uint64(n) && !t.Failed(); i = next.Add(1) - 1 {
				if err := cutChain(first+i, min(n-int(i)*perStore, perStore), where, false, moments...); err != nil {
					t.Errorf("seed %d: %v", first+i, err)
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	where.log(t)
	t.Logf("%d cuts: 0 acknowledged lost, 0 torn, 0 failed to open", n)
}

// TestPowerCutBetweenManifestAndMarker cuts the power right when the marker of a new manifest is made, again and
// again, since what a crash leaves of two new names in a folder is chance.
func TestPowerCutBetweenManifestAndMarker(t *testing.T) {
	isMarker := func(_, name string) bool { return strings.Contains(name, "/marker.manifest") }
	made := moment{"a marker was made", 1, nil, behind(isMarker, func(string, string) bool { return true })}
	for seed := range uint64(40) {
		if err := cutChain(seed, 1, &places{seen: map[string]int{}}, false, made); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestPowerCutsNoticeALyingDisk holds that the harness is worth something: on a disk that says that it synced
// and did not, acknowledged events get lost.
func TestPowerCutsNoticeALyingDisk(t *testing.T) {
	for seed := range uint64(20) {
		if err := cutChain(seed, 4, &places{seen: map[string]int{}}, true, moments...); err != nil {
			t.Logf("seen: %v", err)
			return
		}
	}
	t.Error("nothing was noticed in 80 cuts of a disk that does not sync")
}

// cutChain cuts the power of a store so many times.
func cutChain(seed uint64, cuts int, where *places, lying bool, at ...moment) error {
	random := rand.New(rand.NewPCG(seed, 0))
	w := &witness{limit: 3}
	o := tiny
	o.Keys, o.Create, o.Fatal = testKeys, true, func(err error) { panic(err) }
	fs := newPower()
	o.FS = fs
	s, err := Open("store", o)
	if err != nil {
		return err
	}
	for range cuts {
		m := at[random.IntN(len(at))]
		fs.lying.Store(lying)
		left, upTo, name, err := cutOnce(s, w, fs, &o, m, random)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		where.add(name)
		fs, o.FS = left, left
		if s, err = Open("store", o); err != nil {
			return fmt.Errorf("%s: open: %w", m.name, err)
		}
		v, err := w.check(s, upTo)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if err := w.accept(s, v); err != nil {
			return err
		}
	}
	return s.Close()
}

// cutOnce lets the witness work until the power is cut, and returns what is left of the disk and what was acknowledged by then.
func cutOnce(s *Store, w *witness, fs *power, o *Options, m moment, random *rand.Rand) (left *power, upTo known, name string, err error) {
	keep := []int{0, 100, random.IntN(101)}[random.IntN(3)]
	seed := random.Uint64()
	dice := rand.New(rand.NewPCG(seed, 1))
	var hit atomic.Pointer[power]
	t := new(trap)
	t.skip.Store(int64(random.IntN(m.among)))
	t.sprung = func() {
		upTo = w.known()
		hit.Store(fs.left(keep, dice))
		w.stop()
	}
	if m.opening != nil {
		t.match = m.opening()
		err = w.work(s, 8, 12, seed)
		upTo = w.known()
		first := fs.cut(keep, dice)
		if err = errors.Join(err, s.Close()); err != nil {
			return nil, upTo, "", err
		}
		fs = first
		fs.trap.Store(t)
		opts := *o
		opts.FS = fs
		if s, err = Open("store", opts); err != nil {
			return nil, upTo, "", err
		}
	} else {
		t.match = m.match()
		fs.trap.Store(t)
		err = w.work(s, 8, 60, seed)
	}
	name = m.name
	fs.gate.Lock() // a trap that is springing is through
	missed := fs.trap.Swap(nil) != nil
	fs.gate.Unlock()
	if missed {
		upTo, name = w.known(), "between two operations"
		hit.Store(fs.cut(keep, dice))
	}
	return hit.Load(), upTo, name, errors.Join(err, s.Close())
}
