package pebblestore

import (
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// machine is a clock that shows what it is told.
type machine struct {
	mu   sync.Mutex
	wall time.Time
	up   time.Duration
}

const tenYears = 10 * 365 * 24 * time.Hour

func newMachine() *machine { return &machine{wall: time.Unix(1_800_000_000, 0)} }

func (m *machine) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wall
}

func (m *machine) Up() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.up
}

func (m *machine) pass(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wall, m.up = m.wall.Add(d), m.up+d
}

func (m *machine) jump(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wall = m.wall.Add(d)
}

// TestTheClockIsBelievedOnlySoFar holds by how much the time at which things expire follows a clock.
func TestTheClockIsBelievedOnlySoFar(t *testing.T) {
	const day = 24 * time.Hour
	m := newMachine()
	c := &clock{wall: m.Now, up: m.Up}
	began := m.Now()
	c.begin(0, 0)
	check := func(what string, want time.Duration) {
		t.Helper()
		if got := time.Unix(c.advance(m.Now().Unix()), 0).Sub(began); got != want {
			t.Errorf("%s: %v went by, want %v", what, got, want)
		}
	}
	check("at first", 0)
	m.pass(40 * day)
	check("however long nobody asked", 40*day)
	m.jump(-time.Hour)
	check("an hour back", 40*day)
	m.pass(2 * time.Hour)
	check("two hours later", 40*day+time.Hour)
	m.jump(time.Hour)
	check("and an hour ahead again", 40*day+2*time.Hour)
	m.jump(10 * 365 * day)
	check("ten years ahead", 40*day+2*time.Hour)
	m.pass(day)
	check("a day later", 42*day+2*time.Hour)
	if behind := c.behind(); behind != (10*365-1)*day {
		t.Errorf("it is %v behind", behind)
	}
	m.jump(-10 * 365 * day)
	check("the right time again, which is earlier", 42*day+2*time.Hour)
	m.pass(day)
	check("the right time has come", 42*day+2*time.Hour)
	m.jump(-10 * 365 * day)
	m.pass(5 * day)
	m.jump(10 * 365 * day)
	check("after five days ten years back", 47*day+2*time.Hour)
	m.pass(2 * day)
	m.jump(2 * time.Hour)
	check("after two days in which nobody asked, two hours ahead", 49*day+4*time.Hour)
	m.jump(40 * time.Hour)
	check("and at once two days ahead", 49*day+4*time.Hour)
}

// TestAStoppedServerWaitsBeforeItExpires opens a store long after it was closed: the clock may be wrong, so nothing
// is given up at once.
func TestAStoppedServerWaitsBeforeItExpires(t *testing.T) {
	m := newMachine()
	o := Options{Keys: testKeys, Create: true, FS: vfs.NewMem(), Now: m.Now, up: m.Up, Fatal: func(err error) { panic(err) }}
	s := mustOpen(t, o)
	first := assessAt(t, s, m.Now())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	m.jump(365 * 24 * time.Hour)
	s = mustOpen(t, o)
	sweepAll(t, s, m)
	if _, err := s.Entry(t.Context(), 1, first); err != nil {
		t.Errorf("at once: %v", err)
	}
	m.pass(45 * 24 * time.Hour)
	sweepAll(t, s, m)
	if _, err := s.Entry(t.Context(), 1, first); err == nil {
		t.Error("ninety days are over at twice the speed, and the event is there")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNumbersIncreaseWhateverTheClockDoes sets the clock back and ahead within a run and across runs. They are times of that clock, unless
// it is far ahead of what it was.
func TestNumbersIncreaseWhateverTheClockDoes(t *testing.T) {
	m := newMachine()
	o := Options{Keys: testKeys, Create: true, FS: vfs.NewMem(), Now: m.Now, up: m.Up, Fatal: func(err error) { panic(err) }}
	last := record.Seq(0)
	for _, opened := range []time.Duration{0, -time.Hour, time.Hour, tenYears, -2 * tenYears, time.Second} {
		m.jump(opened)
		s := mustOpen(t, o)
		for _, d := range []time.Duration{0, -time.Minute, time.Minute} {
			m.jump(d)
			id := assessAt(t, s, m.Now())
			if id.Seq() <= last {
				t.Fatalf("jump of %v: %d follows %d", d, id.Seq(), last)
			}
			if last = id.Seq(); id.Recorded().Before(m.Now()) != (opened == tenYears) {
				t.Errorf("opened after a jump of %v: the number is %v, the clock shows %v", opened, id.Recorded(), m.Now())
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAClockThatWasFarAheadKeepsNothingForYears has the clock ten years ahead for an hour, while the store runs, when it is opened, or
// both: what is recorded afterwards stays no longer than it has to.
func TestAClockThatWasFarAheadKeepsNothingForYears(t *testing.T) {
	for name, jumps := range map[string][2]time.Duration{"opened": {tenYears, 0}, "running": {0, tenYears}, "a stop of 300 days": {300 * 24 * time.Hour, 0}} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			o := Options{Keys: testKeys, Create: true, FS: vfs.NewMem(), Now: m.Now, up: m.Up, Fatal: func(err error) { panic(err) }}
			s := mustOpen(t, o)
			assessAt(t, s, m.Now())
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			m.jump(jumps[0])
			s = mustOpen(t, o)
			m.jump(jumps[1])
			assessAt(t, s, m.Now())
			m.pass(time.Hour)
			assessAt(t, s, m.Now())
			if jumps[0]+jumps[1] == tenYears {
				m.jump(-tenYears)
			}
			m.pass(4 * time.Hour)
			id := assessAt(t, s, m.Now())
			if off := id.Recorded().Sub(m.Now()).Abs(); off > time.Second {
				t.Errorf("numbers are %v off", off)
			}
			for range 400 {
				m.pass(24 * time.Hour)
				sweepAll(t, s, m)
			}
			if st, err := s.Stats(t.Context()); err != nil || st.Events != 0 || st.Subjects["phone"] != 0 {
				t.Errorf("400 days later: %+v %v", st, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestAClockThatIsSetRight opens a store by a clock that is behind, or has it stand still, and sets it right: what is recorded from
// then on has the right time, also after further stops.
func TestAClockThatIsSetRight(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		known         bool // the store has events already
		stop          time.Duration
		before, after time.Duration // jumps: before it is opened, and once it runs
	}{
		"set back by ten years":           {true, 0, -tenYears, tenYears},
		"closed for a while, and 1970":    {true, 30 * day, -time.Unix(1_800_000_000, 0).Sub(time.Unix(0, 0)), time.Unix(1_800_000_000, 0).Sub(time.Unix(0, 0))},
		"a new store in 1970":             {false, 0, -time.Unix(1_800_000_000, 0).Sub(time.Unix(0, 0)), time.Unix(1_800_000_000, 0).Sub(time.Unix(0, 0))},
		"the machine slept":               {true, 0, 0, 2 * day},
		"closed for a year, and set back": {true, 365 * day, -2 * 365 * day, 2 * 365 * day},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			o := Options{Keys: testKeys, Create: true, FS: vfs.NewMem(), Now: m.Now, up: m.Up, Fatal: func(err error) { panic(err) }}
			if c.known {
				s := mustOpen(t, o)
				assessAt(t, s, m.Now())
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			m.jump(c.stop + c.before)
			s := mustOpen(t, o)
			assessAt(t, s, m.Now())
			m.pass(time.Minute)
			m.jump(c.after)
			for n := range 4 {
				id := assessAt(t, s, m.Now())
				if off := id.Recorded().Sub(m.Now()).Abs(); off > time.Second {
					t.Errorf("after %d stops the number is %v off", n, off)
				}
				m.pass(day)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				m.jump(day)
				s = mustOpen(t, o)
			}
			for range 400 {
				m.pass(day)
				sweepAll(t, s, m)
			}
			if st, err := s.Stats(t.Context()); err != nil || st.Events != 0 || st.Subjects["phone"] != 0 {
				t.Errorf("400 days later: %+v %v", st, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func assessAt(t *testing.T, s *Store, now time.Time) engine.EventID {
	t.Helper()
	ev, d := signup(), new(engine.Decision)
	ev.Time, ev.Now = now.Unix(), now.Unix()
	if err := s.Assess(t.Context(), ev, d, func(*engine.Observation, *engine.Decision) {}); err != nil {
		t.Fatal(err)
	}
	return d.ID
}

func sweepAll(t *testing.T, s *Store, m *machine) (all engine.Swept) {
	t.Helper()
	for rounds := 0; rounds < 2; {
		swept, err := s.Sweep(t.Context(), m.Now().Unix())
		if err != nil {
			t.Fatal(err)
		}
		if all.Add(swept); swept.Done {
			rounds++
		}
	}
	return all
}

// TestALogThatIsTooLargeLosesItsOldestHours fills the log hour by hour, and faster than that.
func TestALogThatIsTooLargeLosesItsOldestHours(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, time.Minute} {
		t.Run(step.String(), func(t *testing.T) { outgrow(t, step) })
	}
}

func outgrow(t *testing.T, step time.Duration) {
	t.Helper()
	const bound = 1 << 20
	m := newMachine()
	o := Options{
		Keys: testKeys, Create: true, FS: vfs.NewMem(), Now: m.Now, up: m.Up, Fatal: func(err error) { panic(err) },
		Retention: engine.Retention{LogBytes: bound},
	}
	s := mustOpen(t, o)
	var oldest engine.EventID
	values := make([]float64, 500)
	for i := range values {
		values[i] = 1 / float64(i+3) // nine bytes each, and hard to compress
	}
	for range 8 {
		for i := range 300 {
			ev, d := signup(), new(engine.Decision)
			ev.Time, ev.Now = m.Now().Unix(), m.Now().Unix()
			err := s.Assess(t.Context(), ev, d, func(_ *engine.Observation, d *engine.Decision) {
				values[0] = float64(d.ID.Draw())
				d.Values = values
			})
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 && !oldest.Given() {
				oldest = d.ID
			}
		}
		m.pass(step)
	}
	if err := s.flush.flush(s.lastSeq.Load); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Flush(); err != nil { // what lies in memory does not count
		t.Fatal(err)
	}
	if before, _, err := s.logSize(); err != nil || before < bound {
		t.Fatalf("the log has %d bytes: %v", before, err)
	}
	swept := sweepAll(t, s, m)
	for range 10 {
		swept.Add(sweepAll(t, s, m))
	}
	state := s.LogState()
	if swept.Ranges == 0 || state.Bytes > bound || state.Bytes < bound/8 {
		t.Errorf("%d ranges were given up, %d bytes are left", swept.Ranges, state.Bytes)
	}
	if _, err := s.Entry(t.Context(), 1, oldest); err == nil {
		t.Error("the oldest event is there")
	}
	looking := signup()
	looking.Kind, looking.Time, looking.Now = 0, m.Now().Unix(), m.Now().Unix()
	if o, err := s.Observe(t.Context(), looking); err != nil || o.Records[hashing.Phone].Total(scoring.Signup) != 8*300 {
		t.Errorf("counts: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAKeyUsedAnewIsNotSwept uses expired idempotency keys again while they are swept.
func TestAKeyUsedAnewIsNotSwept(t *testing.T) {
	const keys = 200
	m := newMachine()
	o := Options{Keys: testKeys, Now: m.Now, up: m.Up, Fatal: func(err error) { panic(err) }}
	s, err := OpenMemory(o)
	if err != nil {
		t.Fatal(err)
	}
	use := func(k int) {
		ev := signup()
		ev.Subjects = hashing.Subjects{}
		ev.Time, ev.Now = m.Now().Unix(), m.Now().Unix()
		ev.Once = &engine.Once{Key: hashing.Digest{byte(k), 1}, Expires: ev.Now + engine.OnceFor, Render: func() []byte { return nil }}
		if err := s.Assess(t.Context(), ev, new(engine.Decision), func(*engine.Observation, *engine.Decision) {}); err != nil {
			t.Error(err)
		}
	}
	for round := range 20 {
		for k := range keys {
			use(k)
		}
		m.pass(25 * time.Hour)
		var wg sync.WaitGroup
		wg.Go(func() { sweepAll(t, s, m) })
		for k := range keys {
			use(k)
		}
		wg.Wait()
		for k := range keys {
			if r, err := s.Recall(t.Context(), 1, hashing.Digest{byte(k), 1}, m.Now().Unix()); err != nil || r == nil {
				t.Fatalf("round %d: key %d is gone: %v", round, k, err)
			}
		}
		m.pass(25 * time.Hour)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
