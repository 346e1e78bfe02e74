package access

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/ringfence/ringfence/hashing"
)

// Meter counts what one key asks for. It is safe for concurrent use, and as good as any
// other after a restart: what it counted is in memory only.
type Meter struct {
	mu       sync.Mutex
	bucket   bucket              // guarded by mu
	day      int64               // of subjects, in days since 1970, UTC; guarded by mu
	subjects map[uint64]struct{} // pseudonyms of today, the first 8 bytes; guarded by mu
	inRow    int                 // of them, how many came with a neighbour there; guarded by mu
	alarmed  bool                // today; guarded by mu
}

// Quota is where a key stands.
type Quota struct {
	OK    bool
	Most  int
	Left  int
	Reset time.Duration // until all is there again
	Wait  time.Duration // of a refusal: until asking again makes sense
}

// Request counts one request.
func (m *Meter) Request(k *Key, now time.Time) Quota {
	m.mu.Lock()
	defer m.mu.Unlock()
	ok, left, wait := m.bucket.take(k.Rate, now)
	return Quota{ok, k.Rate.Most, left, m.bucket.full(now), wait}
}

const day = 24 * time.Hour

// Subject counts a number, once a day. The same number again is always let through: its
// answer tells nothing that was not told.
func (m *Meter) Subject(k *Key, s hashing.Subject, now time.Time) Quota {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	q := Quota{OK: true, Most: k.DailySubjects, Reset: untilMidnight(now)}
	id := short(s)
	if _, known := m.subjects[id]; !known {
		if q.OK = len(m.subjects) < k.DailySubjects; q.OK {
			m.subjects[id] = struct{}{}
		} else {
			q.Wait = q.Reset
		}
	}
	q.Left = max(k.DailySubjects-len(m.subjects), 0)
	return q
}

// Budget returns where the key stands with its numbers of the day, and counts nothing.
func (m *Meter) Budget(k *Key, now time.Time) Quota {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	return Quota{OK: true, Most: k.DailySubjects, Left: max(k.DailySubjects-len(m.subjects), 0), Reset: untilMidnight(now)}
}

// When numbers in a row are no accident: of real people's numbers, one in thousands has a
// neighbour among some ten thousand others.
const (
	alarmNumbers = 20
	alarmShare   = 20 // one in
)

// Neighbours looks at the numbers below and above one that is about to be counted. inRow is whether one of them was
// asked for today, alarm whether that is so of too many: it is true once a day.
func (m *Meter) Neighbours(s, below, above hashing.Subject, now time.Time) (inRow, alarm bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	if _, known := m.subjects[short(s)]; known {
		return false, false
	}
	for _, n := range []hashing.Subject{below, above} {
		if _, known := m.subjects[short(n)]; known && n.Given() {
			inRow = true
		}
	}
	if !inRow {
		return false, false
	}
	m.inRow++
	alarm = !m.alarmed && m.inRow >= alarmNumbers && m.inRow*alarmShare >= len(m.subjects)
	m.alarmed = m.alarmed || alarm
	return true, alarm
}

// turn forgets yesterday.
func (m *Meter) turn(now time.Time) {
	if today := now.Unix() / int64(day/time.Second); m.subjects == nil || today > m.day {
		m.day, m.subjects, m.inRow, m.alarmed = today, map[uint64]struct{}{}, 0, false
	}
}

func untilMidnight(now time.Time) time.Duration {
	return now.UTC().Truncate(day).Add(day).Sub(now)
}

// short is enough of a pseudonym to tell millions apart.
func short(s hashing.Subject) uint64 { return binary.BigEndian.Uint64(s.ID[:]) }
