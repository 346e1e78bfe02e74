package load

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
)

func TestHistogramKeepsTimesWithinAThirtySecond(t *testing.T) {
	for d := time.Duration(1); d < 10*time.Minute; d = d*5/4 + 1 {
		var h Histogram
		h.Add(d)
		if got := h.Quantile(0.5); math.Abs(float64(got-d)) > float64(d)/32 {
			t.Errorf("%v became %v", d, got)
		}
	}
	var all, odd Histogram
	for i := range 1000 {
		all.Add(time.Duration(i) * time.Millisecond)
		odd.Add(time.Hour)
	}
	if p := all.Quantile(0.99); p < 960*time.Millisecond || p > 1020*time.Millisecond {
		t.Errorf("the 99th of a hundred: %v", p)
	}
	all.Merge(&odd)
	if p := all.Quantile(0.75); p < 10*time.Minute {
		t.Errorf("half of all are above the last bucket, the third quartile is %v", p)
	}
	if p := new(Histogram).Quantile(0.5); p != 0 {
		t.Errorf("nothing took %v", p)
	}
}

func TestClosedStopsAtItsLimit(t *testing.T) {
	broken := errors.New("broken")
	var started atomic.Int64
	r := Closed(4, time.Hour, 1000, func(int) func() error {
		started.Add(1)
		n := 0
		return func() error {
			if n++; n == 1 {
				return broken
			}
			return nil
		}
	})
	if r.Events != 1000 || r.Latency.N != 1000 || started.Load() != 4 || r.Failed == 0 || r.First != broken { //nolint:errorlint // the same value
		t.Errorf("%d events, %d times, %d workers, %d failed with %v", r.Events, r.Latency.N, started.Load(), r.Failed, r.First)
	}
}

// TestClosedGivesUp holds that workers that get nowhere stop asking, and say why at first.
func TestClosedGivesUp(t *testing.T) {
	first := errors.New("first")
	r := Closed(2, time.Hour, 10_000, func(int) func() error {
		n := 0
		return func() error {
			if n++; n == 1 {
				return first
			}
			return errRefused
		}
	})
	if r.Events != 2*patience || r.Failed != r.Events || !errors.Is(r.First, first) {
		t.Errorf("%d events, %d failed with %v", r.Events, r.Failed, r.First)
	}
}

// TestOpenCountsTheWait holds that an event that waits for a worker counts from when it was due.
func TestOpenCountsTheWait(t *testing.T) {
	held := make(chan struct{})
	var first atomic.Bool
	var due atomic.Int64
	r := Open(1, 1000, 200*time.Millisecond, func(int) func() error {
		return func() error {
			if !first.Swap(true) {
				go func() {
					<-time.After(100 * time.Millisecond)
					close(held)
				}()
				<-held
			}
			due.Add(1)
			return nil
		}
	})
	if r.Events != uint64(due.Load()) || r.Events < 100 || r.Events > 320 {
		t.Errorf("%d events of about 200", r.Events)
	}
	if p := r.Latency.Quantile(0.75); p < 20*time.Millisecond {
		t.Errorf("those that were due while the worker was held waited %v", p)
	}
}

func TestSourcesRepeat(t *testing.T) {
	for _, m := range []Mix{Hot(1000), Uniform(1000)} {
		a, b := m.Source(7), m.Source(7)
		seen := map[uint64]int{}
		for range 20_000 {
			p := a.Next()
			if p != b.Next() {
				t.Fatal("two sources of one seed differ")
			}
			if p.Phone >= 1000 || p.Account >= 1000 || p.Address >= 250 {
				t.Fatalf("out of the mix: %+v", p)
			}
			seen[p.Phone]++
		}
		if hot := m.Phones.Skew > 0; hot != (seen[0] > 1000) {
			t.Errorf("%+v: the first phone takes part in %d of 20,000", m, seen[0])
		}
	}
}

func testHasher(t *testing.T) *hashing.Hasher {
	t.Helper()
	ring, err := hashing.NewKeyring(bytes.NewReader(make([]byte, 1024)), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	h, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestSignupIsHashed(t *testing.T) {
	h := testHasher(t)
	s := Hot(10).Source(1)
	var one, two engine.Event
	s.SignupOf(h, Party{Phone: 1, Account: 1, Address: 1}, &one)
	s.SignupOf(h, Party{Phone: 2, Account: 1, Address: 17}, &two)
	for _, kind := range []hashing.Kind{hashing.Phone, hashing.Range, hashing.Account, hashing.IP, hashing.Network} {
		same := one.Subjects[kind] == two.Subjects[kind]
		if !one.Subjects[kind].Given() || one.Subjects[kind].Kind != kind || same != (kind == hashing.Range || kind == hashing.Account) {
			t.Errorf("%v: %v, the same for both: %v", kind, one.Subjects[kind].Given(), same)
		}
	}
	if one.Subjects[hashing.Device].Given() || one.Link != two.Link || one.Link == (hashing.LinkTag{}) {
		t.Error("five subjects and one account")
	}
}

func TestBodiesAreOfNumbersForFiction(t *testing.T) {
	if n := len(Numbers()); n < 30_000 {
		t.Errorf("%d numbers", n)
	}
	s := Hot(1000).Source(1)
	for range 100 {
		b := s.Body(nil)
		if !bytes.Contains(b, []byte(`55501`)) || !bytes.Contains(b, []byte(`"ip":"10.`)) {
			t.Fatal("not a number kept for fiction, from an address of nobody")
		}
	}
}

func TestProcessTimes(t *testing.T) {
	own, err := CPUOf(os.Getpid())
	if err != nil {
		t.Skipf("no /proc here: %v", err)
	}
	if all := CPU(); own > all+2*clockTick || all == 0 {
		t.Errorf("/proc says %v, the kernel %v", own, all)
	}
	now, peak, err := RSS()
	if err != nil || now < 1<<20 || peak < now {
		t.Errorf("%d bytes, at most %d: %v", now, peak, err)
	}
	if _, err := CPUOf(-1); err == nil {
		t.Error("a process that cannot be has used some time")
	}
	if m := Machine(); !strings.Contains(m, "go1") {
		t.Error("no machine")
	}
}
