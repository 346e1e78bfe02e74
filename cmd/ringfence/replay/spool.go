package replay

import (
	"bufio"
	"cmp"
	"container/heap"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// defaultRoom is how many items stay in memory, some 500 bytes each.
const defaultRoom = 100_000

// spool keeps items until all are there, and then gives them back in order.
// What memory has no room for goes to files without a name, encrypted under a key
// that only this value knows.
type spool struct {
	order func(a, b *item) int
	room  int
	block cipher.Block
	held  []*item
	runs  []*run
}

// byLine is the order of the file.
func byLine(a, b *item) int { return cmp.Compare(a.Line, b.Line) }

// byTime is the order of events; those of one time stay in the order of the file.
func byTime(a, b *item) int { return cmp.Or(cmp.Compare(a.Time, b.Time), byLine(a, b)) }

func newSpool(order func(a, b *item) int, room int) *spool {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails: the process ends when the system has no randomness
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("replay: AES refuses a key of 32 bytes")
	}
	return &spool{order: order, room: room, block: block}
}

func (s *spool) add(it *item) error {
	s.held = append(s.held, it)
	if len(s.held) < s.room {
		return nil
	}
	slices.SortFunc(s.held, s.order)
	r, err := s.write(s.held)
	if err != nil {
		return fmt.Errorf("cannot put events aside: %w; name a folder with room by TMPDIR", err)
	}
	s.runs = append(s.runs, r)
	clear(s.held)
	s.held = s.held[:0]
	return nil
}

// run is a sorted sequence of items: in memory or in a file.
type run struct {
	next func() (*item, error) // io.EOF at the end
	head *item
	file *os.File // nil in memory
}

// write puts items into a file that is gone when it is closed.
func (s *spool) write(items []*item) (*run, error) {
	file, err := os.CreateTemp("", "ringfence-replay-*")
	if err != nil {
		return nil, err
	}
	err = os.Remove(file.Name())
	iv := make([]byte, aes.BlockSize)
	_, _ = rand.Read(iv)
	b := bufio.NewWriterSize(cipher.StreamWriter{S: cipher.NewCTR(s.block, iv), W: file}, 1<<16)
	g := gob.NewEncoder(b)
	for _, it := range items {
		if err == nil {
			err = g.Encode(it)
		}
	}
	if err == nil {
		err = b.Flush()
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	d := gob.NewDecoder(bufio.NewReaderSize(cipher.StreamReader{S: cipher.NewCTR(s.block, iv), R: file}, 1<<16))
	return &run{file: file, next: func() (*item, error) {
		it := new(item)
		return it, d.Decode(it)
	}}, nil
}

// each calls fn with all items in order. It can be called once.
func (s *spool) each(ctx context.Context, fn func(*item) error) error {
	slices.SortFunc(s.held, s.order)
	rest := s.held
	m := &merge{order: s.order}
	for _, r := range append(s.runs, &run{next: func() (*item, error) {
		if len(rest) == 0 {
			return nil, io.EOF
		}
		it := rest[0]
		rest = rest[1:]
		return it, nil
	}}) {
		if err := m.advance(r); err != nil {
			return err
		}
	}
	for len(m.runs) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		r := m.runs[0]
		if err := fn(r.head); err != nil {
			return err
		}
		heap.Pop(m)
		if err := m.advance(r); err != nil {
			return err
		}
	}
	return nil
}

func (s *spool) close() error {
	var err error
	for _, r := range s.runs {
		err = errors.Join(err, r.file.Close())
	}
	return err
}

// merge is a heap of runs by their heads.
type merge struct {
	order func(a, b *item) int
	runs  []*run
}

// advance pushes a run with its next item, or drops it at its end.
func (m *merge) advance(r *run) error {
	it, err := r.next()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read back what was put aside: %w", err)
	}
	r.head = it
	heap.Push(m, r)
	return nil
}

func (m *merge) Len() int           { return len(m.runs) }
func (m *merge) Less(i, j int) bool { return m.order(m.runs[i].head, m.runs[j].head) < 0 }
func (m *merge) Swap(i, j int)      { m.runs[i], m.runs[j] = m.runs[j], m.runs[i] }
func (m *merge) Push(x any)         { m.runs = append(m.runs, x.(*run)) } //nolint:forcetypeassert // nothing else is pushed

func (m *merge) Pop() any {
	last := m.runs[len(m.runs)-1]
	m.runs = m.runs[:len(m.runs)-1]
	return last
}
