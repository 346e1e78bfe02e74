package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringfence/ringfence/hashing"
)

// Retention is how long entries are kept by default.
const Retention = 366 * 24 * time.Hour

// Log is a folder of segments to append to. It is safe for concurrent use, also by several
// processes.
type Log struct {
	dir  string
	keys *hashing.Auditor
	now  func() time.Time
	keep time.Duration

	mu      sync.Mutex
	waiting []*pending // not yet taken by a writer; guarded by mu
	writing bool       // somebody writes; guarded by mu
	broken  error      // why nothing can be written any more; guarded by mu
}

// pending is an entry on its way to the disk.
type pending struct {
	entry Entry
	lead  chan struct{} // capacity 1: it is this one's turn to write
	done  chan error    // capacity 1
}

// Open makes the folder if it is missing. keep is how long entries are kept at least; 0 is Retention.
func Open(dir string, keys *hashing.Auditor, now func() time.Time, keep time.Duration) (*Log, error) {
	if keep == 0 {
		keep = Retention
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return &Log{dir: dir, keys: keys, now: now, keep: keep}, nil
}

// Healthy returns nil when an entry can be written, as far as one can tell before.
func (l *Log) Healthy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// Append writes an entry, whose Seq and At it sets, and returns when it is on the disk.
func (l *Log) Append(e Entry) error {
	e.At = l.now()
	p := &pending{e, make(chan struct{}, 1), make(chan error, 1)}
	l.mu.Lock()
	l.waiting = append(l.waiting, p)
	if !l.writing {
		l.writing = true
		p.lead <- struct{}{}
	}
	l.mu.Unlock()
	select {
	case <-p.lead:
		l.lead()
		return <-p.done
	case err := <-p.done:
		return err
	}
}

// lead writes what waits, and has the first of those who came meanwhile go on.
func (l *Log) lead() {
	l.mu.Lock()
	batch, err := l.waiting, l.broken
	l.waiting = nil
	l.mu.Unlock()
	if err == nil {
		err = l.write(batch)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
	for _, p := range batch {
		p.done <- err
	}
	if l.writing = len(l.waiting) > 0; l.writing {
		l.waiting[0].lead <- struct{}{}
	}
}

// write appends a batch under the lock of the folder: another process may have appended since.
func (l *Log) write(batch []*pending) error {
	unlock, err := lock(filepath.Join(l.dir, "LOCK"))
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	defer unlock()
	at, names, err := l.tail()
	if err != nil {
		return err
	}
	now := l.now()
	name := ""
	if len(names) > 0 {
		name = names[len(names)-1]
	}
	var entries []Entry
	var old []string
	var gone uint64
	if name == "" || l.month(name) != now.UTC().Format(monthForm) {
		name = fmt.Sprintf("%012d-%s.ndjson", at.seq+1, now.UTC().Format(monthForm))
		if old, gone = l.outlived(names, now); gone > 0 {
			entries = append(entries, dropped(gone, now))
		}
	}
	for _, p := range batch {
		entries = append(entries, p.entry)
	}
	var b []byte
	for _, e := range entries {
		var text []byte
		if text, at, err = at.next(e, l.keys); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		b = append(b, text...)
	}
	if err := appendFile(filepath.Join(l.dir, name), b); err != nil {
		return err
	}
	for _, name := range old { // behind the entry that says so: a crash in between leaves more than it says, never less
		if err := os.Remove(filepath.Join(l.dir, name)); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
	}
	return nil
}

func appendFile(path string, b []byte) error {
	_, missing := os.Stat(path)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600) //nolint:gosec // below the data folder
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if missing == nil {
		return nil
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return errors.Join(d.Sync(), d.Close()) // the name of the new segment
}

const monthForm = "2006-01"

func (l *Log) month(name string) string {
	_, month, _ := strings.Cut(strings.TrimSuffix(name, ".ndjson"), "-")
	return month
}

// segments returns the names of the segments in order.
func segments(dir string) ([]string, error) {
	found, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	var names []string
	for _, f := range found {
		if strings.HasSuffix(f.Name(), ".ndjson") && len(f.Name()) == len("000000000001-2006-01.ndjson") {
			names = append(names, f.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// tail returns the place behind the last whole line. Half a line behind it was never acknowledged: a
// crash left it, and it is cut off.
func (l *Log) tail() (chain, []string, error) {
	names, err := segments(l.dir)
	if err != nil || len(names) == 0 {
		return chain{}, names, err
	}
	path := filepath.Join(l.dir, names[len(names)-1])
	b, err := lastLine(path)
	if err != nil {
		return chain{}, nil, fmt.Errorf("audit log: %w", err)
	}
	end := bytes.LastIndexByte(b, '\n') + 1
	if cut := len(b) - end; cut > 0 {
		if err := shorten(path, int64(cut)); err != nil {
			return chain{}, nil, fmt.Errorf("audit log: %w", err)
		}
		b = b[:end]
	}
	if len(b) == 0 { // a crash right after the segment was begun: its name says where
		if err := os.Remove(path); err != nil {
			return chain{}, nil, fmt.Errorf("audit log: %w", err)
		}
		return l.tail()
	}
	last := b[bytes.LastIndexByte(b[:len(b)-1], '\n')+1:]
	parsed, _, _, err := parse(last)
	if err != nil {
		return chain{}, nil, fmt.Errorf("audit log, %s: the last line was changed; see: ringfence audit verify", names[len(names)-1])
	}
	return chain{parsed.Seq, link(last)}, names, nil
}

// maxLine is more than any line has.
const maxLine = 8 << 10

// lastLine returns the end of a file: its last whole line, at least, and what a crash left of others behind that.
func lastLine(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // below the data folder
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	for size := min(2*maxLine, info.Size()); ; size = min(2*size, info.Size()) {
		b, err := io.ReadAll(io.NewSectionReader(f, info.Size()-size, size))
		if err != nil || size == info.Size() || bytes.Count(b, []byte{'\n'}) > 1 { // the first one may end a line that begins before
			return b, err
		}
	}
}

func shorten(path string, by int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600) //nolint:gosec // below the data folder
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		err = errors.Join(f.Truncate(info.Size()-by), f.Sync())
	}
	return errors.Join(err, f.Close())
}

// outlived returns the segments whose newest entry is older than entries are kept, and the number of
// their last entry, 0 for none. The newest segment is never one: the chain goes on from it.
func (l *Log) outlived(names []string, now time.Time) (old []string, last uint64) {
	for i, name := range names[:max(len(names)-1, 0)] {
		begin, err := time.Parse(monthForm, l.month(name))
		if err != nil || now.Sub(begin.AddDate(0, 1, 0)) < l.keep {
			break
		}
		first, err := strconv.ParseUint(names[i+1][:12], 10, 64)
		if err != nil {
			break
		}
		old, last = append(old, name), first-1
	}
	return old, last
}
