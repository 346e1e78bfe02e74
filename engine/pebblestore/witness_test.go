package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// rounds returns how often a harness goes round: a little in every test run, more where
// RINGFENCE_FAULTS is "ci", most where it is "long", and as often as it says where it is a number.
func rounds(little, ci, long int) int {
	switch form := os.Getenv("RINGFENCE_FAULTS"); form {
	case "":
		return little
	case "ci":
		return ci
	case "long":
		return long
	default:
		n, err := strconv.Atoi(form)
		if err != nil || n < 1 {
			panic("RINGFENCE_FAULTS is neither ci nor long nor a number")
		}
		return n
	}
}

// witness works on a store with several writers, notes what was acknowledged to them, and
// says afterwards whether a store holds that, once, and whole.
type witness struct {
	limit int
	told  func(note byte, of []byte) // called with every note before its writer goes on; may be nil
	halt  atomic.Bool                // asks the writers to stop

	mu     sync.Mutex
	keys   []hashing.Digest // idempotency keys of every event that was tried
	events []engine.EventID // acknowledged
	labels []engine.EventID // events whose label was acknowledged
	freed  []int            // phones whose release was acknowledged
	tried  []int            // phones whose release was begun
}

// known is how much of a witness's notes was acknowledged at some moment.
type known struct{ events, labels, freed int }

// The subjects of a witness are few, so that its writers meet on them.
const (
	witnessPhones = 4
	witnessOthers = 3 // of every other kind
	witnessTime   = 1_800_000_000
)

func witnessSubject(kind hashing.Kind, n int) hashing.Subject {
	s := hashing.Subject{Kind: kind, Key: 1}
	random := rand.New(rand.NewPCG(uint64(kind), uint64(n)))
	binary.BigEndian.PutUint64(s.ID[:], random.Uint64())
	binary.BigEndian.PutUint64(s.ID[8:], random.Uint64())
	return s
}

func (w *witness) known() known {
	w.mu.Lock()
	defer w.mu.Unlock()
	return known{len(w.events), len(w.labels), len(w.freed)}
}

// work lets writers loose on a store until stop says so or each has done most steps. Errors end a writer:
// they are returned, but for that of a store that was closed.
func (w *witness) work(s *Store, writers, most int, seed uint64) error {
	w.halt.Store(false)
	var wg sync.WaitGroup
	failed := make([]error, writers)
	for i := range writers {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for n := 0; n < most && !w.halt.Load(); n++ {
				if err := w.step(s, random); err != nil {
					if !errors.Is(err, engine.ErrClosed) {
						failed[i] = err
					}
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

func (w *witness) stop() { w.halt.Store(true) }

// step does one thing: mostly an event, at times several that wait together, an outcome, a release, or a flush of Pebble's.
func (w *witness) step(s *Store, random *rand.Rand) error {
	switch n := random.IntN(100); {
	case n < 2:
		return w.release(s, random.IntN(witnessPhones))
	case n < 14:
		return w.label(s, random)
	case n < 15:
		_, err := s.db.AsyncFlush()
		return err
	case n < 30:
		return w.lot(s, random)
	}
	return w.event(s, random)
}

func (w *witness) event(s *Store, random *rand.Rand) error {
	id, err := w.assess(s, random, false)
	if err == nil {
		w.note(noteEvent, id[:])
	}
	return err
}

// lot assesses some events that wait together for the log.
func (w *witness) lot(s *Store, random *rand.Rand) error {
	ids := make([]engine.EventID, 1+random.IntN(6))
	for i := range ids {
		var err error
		if ids[i], err = w.assess(s, random, true); err != nil {
			return err
		}
	}
	if err := s.Durable(context.Background()); err != nil {
		return err
	}
	for _, id := range ids {
		w.note(noteEvent, id[:])
	}
	return nil
}

// assess tries an event.
func (w *witness) assess(s *Store, random *rand.Rand, later bool) (engine.EventID, error) {
	ev := &engine.Event{Domain: 1, Kind: scoring.Signup, Time: witnessTime, Now: witnessTime, Verified: random.IntN(3) == 0, Later: later}
	for kind := hashing.Phone; kind < hashing.Kinds; kind++ {
		n := witnessOthers
		if kind == hashing.Phone {
			n = witnessPhones
		}
		ev.Subjects[kind] = witnessSubject(kind, random.IntN(n))
	}
	binary.BigEndian.PutUint64(ev.Link[:], 1+random.Uint64N(8))
	d := new(engine.Decision)
	ev.Once = &engine.Once{Expires: witnessTime + 1, Render: func() []byte { return d.ID[:] }}
	binary.BigEndian.PutUint64(ev.Once.Key[:], random.Uint64())
	binary.BigEndian.PutUint64(ev.Once.Key[8:], random.Uint64())
	w.note(noteKey, ev.Once.Key[:])
	err := s.Assess(context.Background(), ev, d, func(_ *engine.Observation, d *engine.Decision) {
		d.Verdict, d.Claim, d.MaxLinks = scoring.Allow, ev.Claims(), w.limit
	})
	if err == nil && d.Links.Count > w.limit {
		err = fmt.Errorf("WRONG: %d links where %d may be", d.Links.Count, w.limit)
	}
	return d.ID, err
}

func (w *witness) label(s *Store, random *rand.Rand) error {
	w.mu.Lock()
	var id engine.EventID
	if len(w.events) > 0 {
		id = w.events[random.IntN(len(w.events))]
	}
	w.mu.Unlock()
	if !id.Given() {
		return nil
	}
	err := s.RecordOutcome(context.Background(), &engine.Outcome{Domain: 1, Event: id, Kind: scoring.Abuse, Time: witnessTime, Now: witnessTime})
	if errors.Is(err, engine.ErrUnknownEvent) {
		return fmt.Errorf("WRONG: an acknowledged event is unknown")
	}
	if err == nil {
		w.note(noteLabel, id[:])
	}
	return err
}

func (w *witness) release(s *Store, phone int) error {
	w.note(noteTried, []byte{byte(phone)})
	err := s.Release(context.Background(), &engine.Release{Domain: 1, Phone: witnessSubject(hashing.Phone, phone), Now: witnessTime})
	if err == nil {
		w.note(noteFreed, []byte{byte(phone)})
	}
	return err
}

// What a witness notes.
const (
	noteKey   = 'k' // an event is tried with this idempotency key
	noteTried = 't' // a release of this phone is tried
	noteEvent = 'e' // an event was acknowledged
	noteLabel = 'l' // an outcome of this event was
	noteFreed = 'f' // a release of this phone was
)

func (w *witness) note(what byte, of []byte) {
	w.mu.Lock()
	switch what {
	case noteKey:
		w.keys = append(w.keys, hashing.Digest(of))
	case noteTried:
		w.tried = append(w.tried, int(of[0]))
	case noteEvent:
		w.events = append(w.events, engine.EventID(of))
	case noteLabel:
		w.labels = append(w.labels, engine.EventID(of))
	case noteFreed:
		w.freed = append(w.freed, int(of[0]))
	}
	w.mu.Unlock()
	if w.told != nil {
		w.told(what, of)
	}
}

// seen is what a store says of itself.
type seen struct {
	log    map[engine.EventID]*record.Entry
	answer map[engine.EventID]bool // events whose answer is remembered
}

// check holds a store against what was acknowledged up to some moment: all of it is there, what is logged is
// counted once for every subject, and each event has its remembered answer. Errors of the store itself are
// returned as they are; what the store says and is not true begins with WRONG.
func (w *witness) check(s *Store, upTo known) (*seen, error) {
	v, err := w.read(s)
	if err != nil {
		return nil, err
	}
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, id := range w.events[:upTo.events] {
		if v.log[id] == nil {
			say("an acknowledged event is lost")
		}
	}
	for _, id := range w.labels[:upTo.labels] {
		if e := v.log[id]; e != nil && e.Outcome(scoring.Abuse).Kind != scoring.Abuse {
			say("an acknowledged outcome is lost")
		}
	}
	if len(v.answer) != len(v.log) {
		say("%d events are logged, %d answers remembered", len(v.log), len(v.answer))
	}
	if err := w.checkCounts(s, v, upTo, say); err != nil {
		return nil, err
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("WRONG: %d: %v", len(wrong), slices.Compact(wrong))
	}
	return v, nil
}

func (w *witness) read(s *Store) (*seen, error) {
	v := &seen{log: map[engine.EventID]*record.Entry{}, answer: map[engine.EventID]bool{}}
	err := s.Scan(context.Background(), 1, engine.EventID{}, func(e *record.Entry) error {
		kept := *e
		kept.Values = nil
		v.log[e.ID] = &kept
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, key := range w.keys {
		r, err := s.Recall(context.Background(), 1, key, 0)
		if err != nil {
			return nil, err
		}
		if r == nil {
			continue
		}
		if len(r.Answer) != len(engine.EventID{}) || v.log[engine.EventID(r.Answer)] == nil {
			return nil, errors.New("WRONG: an answer is remembered of an event that is not logged")
		}
		v.answer[engine.EventID(r.Answer)] = true
	}
	return v, nil
}

// checkCounts holds every record against the log.
func (w *witness) checkCounts(s *Store, v *seen, upTo known, say func(string, ...any)) error {
	for kind := hashing.Phone; kind < hashing.Kinds; kind++ {
		for n := range max(witnessPhones, witnessOthers) {
			looking := &engine.Event{Domain: 1, Time: witnessTime, Now: witnessTime}
			looking.Subjects[kind] = witnessSubject(kind, n)
			o, err := s.Observe(context.Background(), looking)
			if err != nil {
				return err
			}
			r := o.Records[kind]
			events, labels := v.tally(looking.Subjects[kind], r.Generation())
			if got := int(r.Total(scoring.Signup)); got != events {
				say("subject of kind %d: %d events are counted, %d logged", kind, got, events)
			}
			if kind != hashing.Phone {
				continue
			}
			if got := r.Labels(scoring.Abuse); got != labels {
				say("phone: %d labels are counted, %d logged", got, labels)
			}
			if r.Links() > w.limit {
				say("phone: %d links where %d may be", r.Links(), w.limit)
			}
			least, most := count(w.freed[:upTo.freed], n), count(w.tried, n)
			if g := int(r.Generation()); g < least || g > most {
				say("phone: generation %d, %d releases were acknowledged and %d begun", g, least, most)
			}
		}
	}
	return nil
}

// tally counts the logged events of a subject, and those labelled: of a phone, of one generation.
func (v *seen) tally(s hashing.Subject, generation uint32) (events, labels int) {
	for _, e := range v.log {
		if e.Subjects[s.Kind] != s || s.Kind == hashing.Phone && e.Generation != generation {
			continue
		}
		events++
		if e.Outcome(scoring.Abuse).Kind == scoring.Abuse {
			labels++
		}
	}
	return events, labels
}

func count(all []int, n int) int {
	c := 0
	for _, v := range all {
		if v == n {
			c++
		}
	}
	return c
}

// accept takes what a store holds for what was acknowledged: from here on none of it may get lost.
func (w *witness) accept(s *Store, v *seen) error {
	w.events, w.labels, w.freed, w.tried = nil, nil, nil, nil
	for id, e := range v.log {
		w.events = append(w.events, id)
		if e.Outcome(scoring.Abuse).Kind == scoring.Abuse {
			w.labels = append(w.labels, id)
		}
	}
	slices.SortFunc(w.events, func(a, b engine.EventID) int { return slices.Compare(a[:], b[:]) })
	for n := range witnessPhones {
		looking := &engine.Event{Domain: 1, Time: witnessTime, Now: witnessTime}
		looking.Subjects[hashing.Phone] = witnessSubject(hashing.Phone, n)
		o, err := s.Observe(context.Background(), looking)
		if err != nil {
			return err
		}
		for range o.Records[hashing.Phone].Generation() {
			w.freed, w.tried = append(w.freed, n), append(w.tried, n)
		}
	}
	return nil
}
