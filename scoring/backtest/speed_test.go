package backtest

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// made is a log of encoded entries, as a store holds them: mostly ordinary signups.
func made(tb testing.TB, n int) []record.EventID {
	tb.Helper()
	ids := make([]record.EventID, n)
	for i := range ids {
		ids[i] = record.NewEventID(record.Seq(uint64(begin)*1e6+uint64(i)), uint64(i)*0x9e3779b97f4a7c15)
	}
	return ids
}

// labels says what became of an event with a label, as most have here.
func labels(r *rand.Rand) scoring.Event {
	if r.IntN(10) == 0 {
		return 0
	}
	return []scoring.Event{scoring.Legitimate, scoring.Abuse}[r.IntN(8)/7]
}

// encoded are different entries, encoded, by a policy: 4,096 of them, with what became of them.
func encoded(tb testing.TB, p *scoring.Policy, phones int, became func(*rand.Rand) scoring.Event) [][]byte {
	tb.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	var all [][]byte
	var v scoring.Verdict
	for range 4096 {
		e := &record.Entry{Kind: scoring.Signup, Time: begin, Given: true, Valid: true, Policy: 1, Values: make([]float64, p.Slots())}
		for i := scoring.SlotSignals; i < scoring.SlotSignals+len(p.Signals()); i++ {
			e.Values[i] = float64(1 + r.IntN(10)/8*r.IntN(8)) // 1, for most
		}
		e.Values[scoring.SlotEvent], e.Values[scoring.SlotNumberValid] = float64(scoring.Signup), 1
		e.Values[scoring.SlotNumberType], e.Values[scoring.SlotNumberRegion] = scoring.TypeCode("mobile"), scoring.RegionCode("US")
		for kind := hashing.Phone; kind <= hashing.Device; kind++ {
			many := phones
			if kind == hashing.Range || kind == hashing.Network {
				many = phones/50 + 1
			}
			e.Subjects[kind] = someSubject(kind, r.IntN(many))
		}
		p.Judge(e.Values, 1, &v)
		e.Verdict, e.Score = v.Decision, v.Score
		if kind := became(r); kind != 0 {
			e.Report(record.Report{Outcome: record.Outcome{Kind: kind, Time: begin + 3600}, Seq: 3600e6, Now: begin + 3600})
		}
		all = append(all, e.Append(nil))
	}
	return all
}

func someSubject(kind hashing.Kind, i int) hashing.Subject {
	s := hashing.Subject{Kind: kind, Key: 1}
	r := rand.New(rand.NewPCG(uint64(i), uint64(kind)))
	for k := range s.ID {
		s.ID[k] = byte(r.Uint32())
	}
	return s
}

// longLog decodes n entries one after the other, as a scan of a store does, and spreads them
// over time and phones.
func longLog(tb testing.TB, p *scoring.Policy, n, phones int, became func(*rand.Rand) scoring.Event) Config {
	tb.Helper()
	values, ids := encoded(tb, p, phones, became), made(tb, 1)
	return Config{
		Policy: p, AsOf: begin + int64(n) + 1,
		Source: func(context.Context, uint32) ([]byte, bool, error) { return p.Source(), true, nil },
		Log: func(_ context.Context, fn func(*record.Entry) error) error {
			var e record.Entry
			for i := range n {
				id := record.NewEventID(ids[0].Seq()+record.Seq(i), uint64(i)*0x9e3779b97f4a7c15)
				if err := e.Decode(id, values[i%len(values)]); err != nil {
					return err
				}
				e.Time = begin + int64(i)/50
				e.Subjects[hashing.Phone].ID[1] = byte(i >> 12)
				if err := fn(&e); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// tellAfter has what became of an event told so many seconds after it, in a log of so many events a second.
func tellAfter(e *record.Entry, seconds int64, rate record.Seq) {
	for i := range e.Reports() {
		r := &e.Reports()[i]
		r.Time, r.Now, r.Seq = e.Time+seconds, e.Time+seconds, e.ID.Seq()+record.Seq(seconds)*rate
	}
}

// measured runs once over b.N events and reports events for each second that a core was at work,
// which others on the machine do not change.
func measured(b *testing.B, run func() error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	used := cpuTime(b)
	if err := run(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/(cpuTime(b)-used).Seconds(), "events/s/core")
}

// cpuTime returns what the process has used so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRescore reads, decodes and judges a log by the default policy with another threshold, so
// that some events flip.
func BenchmarkRescore(b *testing.B) {
	p := scoring.Default()
	doc, err := p.Edited([]scoring.Edit{{Decision: scoring.Challenge, To: 25}})
	if err != nil {
		b.Fatal(err)
	}
	cfg := longLog(b, p, b.N, 3000, labels)
	cfg.Policy, cfg.Examples = compiled(b, string(doc)), 20
	measured(b, func() error {
		_, err := Rescore(b.Context(), cfg)
		return err
	})
}

// BenchmarkReplay counts and judges a log that it made itself, so that nothing flips: five
// signups of six subjects a second, half of them verified.
func BenchmarkReplay(b *testing.B) {
	cfg := longLog(b, scoring.Default(), b.N, 3000, func(r *rand.Rand) scoring.Event { return scoring.Verified * scoring.Event(r.IntN(2)) })
	log := cfg.Log
	said := make([][2]uint8, 0, b.N)
	cfg.Log = func(ctx context.Context, fn func(*record.Entry) error) error {
		i := int64(0)
		return log(ctx, func(e *record.Entry) error {
			e.Time = begin + i/5
			e.Now, e.Verdict, e.Score = e.Time, scoring.Allow, 0
			tellAfter(e, 60, 5)
			if int(i) < len(said) {
				e.Verdict, e.Score = scoring.Decision(said[i][0]), int(said[i][1])
			}
			i++
			return fn(e)
		})
	}
	cfg.Each = func(r *Row) error {
		said = append(said, [2]uint8{uint8(r.New.Decision), uint8(r.New.Score)})
		return nil
	}
	if _, err := Replay(b.Context(), cfg); err != nil {
		b.Fatal(err)
	}
	cfg.Each = nil
	measured(b, func() error {
		_, err := Replay(b.Context(), cfg)
		return err
	})
}

// TestMemoryIsBounded holds that a rescore, and a replay of always the same subjects, take no more memory for a
// long log than for a short one. RINGFENCE_LONG is how many events; without it, 300,000.
func TestMemoryIsBounded(t *testing.T) {
	n := 300_000
	if text := os.Getenv("RINGFENCE_LONG"); text != "" {
		if n, _ = strconv.Atoi(text); n < 1000 {
			n = 10_000_000
		}
	}
	cfg := longLog(t, scoring.Default(), n, 3000, labels)
	cfg.Examples = 100
	t.Run("rescore", func(t *testing.T) { isBounded(t, cfg, n, Rescore) })
	t.Run("replay", func(t *testing.T) {
		log := cfg.Log
		cfg.Log = func(ctx context.Context, fn func(*record.Entry) error) error {
			return log(ctx, func(e *record.Entry) error {
				e.Subjects[hashing.Phone].ID[1], e.Now = 0, e.Time
				tellAfter(e, 3600, 50)
				return fn(e)
			})
		}
		isBounded(t, cfg, n, Replay)
	})
}

func isBounded(t *testing.T, cfg Config, n int, run func(context.Context, Config) (*Result, error)) {
	t.Helper()
	var most uint64
	cfg.Progress = func(done uint64) {
		if done%(20*progressEvery) == 0 || done == uint64(n) {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
	start := time.Now()
	if _, err := run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events in %v, at most %d MB of heap", n, time.Since(start).Round(time.Millisecond), most>>20)
	if most > 64<<20 {
		t.Errorf("%d MB of heap", most>>20)
	}
}
