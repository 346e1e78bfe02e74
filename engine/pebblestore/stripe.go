package pebblestore

import (
	"slices"
	"sync"

	"github.com/ringfence/ringfence/hashing"
)

// stripeCount is how many locks the subjects share. Two events of five
// subjects each that have nothing in common meet by accident in about 25 of 1,024 cases.
const stripeCount = 1024

// stripeOf returns the stripe of a subject. Pseudonyms are uniformly
// distributed, whatever they stand for.
func stripeOf(s hashing.Subject) int {
	return (int(s.ID[0])<<8 | int(s.ID[1])) % stripeCount
}

// stripe locks some of the subjects, and holds those of their records that
// were last used.
type stripe struct {
	mu sync.Mutex

	// Guarded by mu.
	hot    map[hashing.Subject][]byte // records as stored; empty for a subject known to have none
	held   int64                      // bytes of hot
	budget int64                      // bound of held
}

// hotOverhead is about what a map entry costs besides the record's bytes.
const hotOverhead = 96

// cached returns the record of a subject if it is hot. The bytes are the stripe's.
func (st *stripe) cached(s hashing.Subject) ([]byte, bool) {
	b, ok := st.hot[s]
	return b, ok
}

// keep makes a record hot. It copies b.
func (st *stripe) keep(s hashing.Subject, b []byte) {
	if st.hot == nil {
		st.hot = make(map[hashing.Subject][]byte)
	}
	old, ok := st.hot[s]
	if !ok {
		st.held += hotOverhead
	}
	kept := append(old[:0], b...)
	st.held += int64(cap(kept) - cap(old))
	st.hot[s] = kept
	if st.held > st.budget {
		st.evict(s)
	}
}

// forget drops a record from memory; the next one who asks reads the disk.
func (st *stripe) forget(s hashing.Subject) {
	if b, ok := st.hot[s]; ok {
		delete(st.hot, s)
		st.held -= hotOverhead + int64(cap(b))
	}
}

// evict makes room by dropping records in the map's random order, but for the
// one just used. What is hot soon comes back; what is not was dropped anyway.
func (st *stripe) evict(keep hashing.Subject) {
	for s, b := range st.hot {
		if st.held <= st.budget {
			return
		}
		if s != keep {
			delete(st.hot, s)
			st.held -= hotOverhead + int64(cap(b))
		}
	}
}

// stripesOf returns the stripes of all subjects given, each once, in order, so that nobody
// who locks them in this order waits in a circle.
func stripesOf(dst []int, subjects ...hashing.Subject) []int {
	dst = dst[:0]
	for _, s := range subjects {
		if s.Given() {
			dst = append(dst, stripeOf(s))
		}
	}
	slices.Sort(dst)
	return slices.Compact(dst)
}
