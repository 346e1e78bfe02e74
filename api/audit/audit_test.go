package audit

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringfence/ringfence/hashing"
)

func auditor(t testing.TB) *hashing.Auditor {
	t.Helper()
	ring, err := hashing.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ring.Auditor()
}

// clock is a time that tests set.
type clock struct {
	mu sync.Mutex
	at time.Time // guarded by mu
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

func newLog(t testing.TB, dir string, keys *hashing.Auditor) (*Log, *clock) {
	t.Helper()
	c := &clock{at: time.Date(2026, 1, 15, 10, 0, 0, 0, time.UTC)}
	l, err := Open(dir, keys, c.now, 0)
	if err != nil {
		t.Fatal(err)
	}
	return l, c
}

func add(t testing.TB, l *Log, n int) {
	t.Helper()
	for i := range n {
		if err := l.Append(Entry{Who: "key:aaaaaaaa", Did: "lists.add", Object: "k1.abcd", After: fmt.Sprintf("on list deny, %d of these", i)}); err != nil {
			t.Fatal(err)
		}
	}
}

func only(t *testing.T, dir string) string {
	t.Helper()
	names, err := segments(dir)
	if err != nil || len(names) != 1 {
		t.Fatalf("%v: %v", names, err)
	}
	return filepath.Join(dir, names[0])
}

func TestEntriesComeBackInOrder(t *testing.T) {
	dir, keys := t.TempDir(), auditor(t)
	if r, err := Verify(dir+"/none", keys); err != nil || r.Last != 0 {
		t.Errorf("no log at all: %+v, %v", r, err)
	}
	one, _ := newLog(t, dir, keys)
	two, _ := newLog(t, dir, keys) // as another process
	var wg sync.WaitGroup
	for _, l := range []*Log{one, two, one, two} {
		wg.Go(func() { add(t, l, 20) })
	}
	wg.Wait()
	r, err := Verify(dir, keys)
	if err != nil || r.First != 1 || r.Last != 80 || r.Unproven != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	seen := uint64(0)
	if err := Read(dir, func(e Entry) bool { seen++; return e.Seq == seen && e.Who == "key:aaaaaaaa" }); err != nil || seen != 80 {
		t.Errorf("%d entries read: %v", seen, err)
	}
	var broken *Broken
	if r, err := Verify(dir, auditor(t)); !errors.As(err, &broken) {
		t.Errorf("another keyring proves the log: %+v, %v", r, err)
	}
	if _, err := Verify(dir, nil); err != nil {
		t.Errorf("the chain alone: %v", err)
	}
}

// TestEveryChangeIsSeen flips every bit of a log, and takes, doubles and swaps its lines.
func TestEveryChangeIsSeen(t *testing.T) {
	dir, keys := t.TempDir(), auditor(t)
	l, _ := newLog(t, dir, keys)
	add(t, l, 3)
	if err := l.Append(Entry{Who: "log", Did: "x"}); err != nil {
		t.Fatal(err)
	}
	path := only(t, dir)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	holds := func(b []byte) bool {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Verify(dir, keys)
		return err == nil && r.Last == 4 && r.Unproven == 0
	}
	if !holds(good) {
		t.Fatal("the log itself does not verify")
	}
	lines := bytes.SplitAfter(good, []byte("\n"))[:4]
	for bit := 8 * (len(lines[0]) + len(lines[1])); bit < 8*len(good); bit++ { // a line that has one behind it, and the last
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if holds(bad) {
			t.Errorf("bit %d of byte %d, near %q", bit%8, bit/8, good[max(0, bit/8-8):bit/8+1])
		}
	}
	join := func(order ...int) []byte {
		var b []byte
		for _, i := range order {
			b = append(b, lines[i]...)
		}
		return b
	}
	for _, order := range [][]int{{1, 2, 3}, {0, 2, 3}, {0, 1, 3}, {0, 1, 2}, {0, 0, 1, 2, 3}, {0, 2, 1, 3}, {0, 1, 2, 3, 3}, {}} {
		if holds(join(order...)) {
			t.Errorf("lines %v", order)
		}
	}
	for n := range good {
		if holds(good[:n]) {
			t.Errorf("cut to %d bytes", n)
		}
	}
}

// TestAForgerNeedsTheKeyring makes a log whose chain is right.
func TestAForgerNeedsTheKeyring(t *testing.T) {
	dir, keys := t.TempDir(), auditor(t)
	l, _ := newLog(t, dir, auditor(t))
	add(t, l, 3)
	if _, err := Verify(dir, nil); err != nil {
		t.Errorf("the chain: %v", err)
	}
	var broken *Broken
	if _, err := Verify(dir, keys); !errors.As(err, &broken) || broken.Line != 1 {
		t.Errorf("a forged log: %v", err)
	}
}

func TestWhatACrashLeaves(t *testing.T) {
	dir, keys := t.TempDir(), auditor(t)
	l, c := newLog(t, dir, keys)
	add(t, l, 2)
	path := only(t, dir)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(b, b[:40]...), 0o600); err != nil { // half a line
		t.Fatal(err)
	}
	add(t, l, 1)
	if r, err := Verify(dir, keys); err != nil || r.Last != 3 {
		t.Errorf("half a line: %+v, %v", r, err)
	}
	if b, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(b, make([]byte, 5*maxLine)...), 0o600); err != nil { // many lines that waited together, of which only the size came to the disk
		t.Fatal(err)
	}
	add(t, l, 1)
	if r, err := Verify(dir, keys); err != nil || r.Last != 4 {
		t.Errorf("bytes that are no line: %+v, %v", r, err)
	}
	c.set(c.now().AddDate(0, 1, 0))
	if err := os.WriteFile(filepath.Join(dir, "000000000005-2026-02.ndjson"), nil, 0o600); err != nil { // a segment that was only begun
		t.Fatal(err)
	}
	add(t, l, 1)
	if r, err := Verify(dir, keys); err != nil || r.Last != 5 {
		t.Errorf("an empty segment: %+v, %v", r, err)
	}
}

// TestNobodyWritesForOthersForEver has a second entry come while the first is written, and holds that up until whoever wrote the first has returned.
func TestNobodyWritesForOthersForEver(t *testing.T) {
	var asked atomic.Int64
	writes, waits, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	l, err := Open(t.TempDir(), auditor(t), func() time.Time {
		switch asked.Add(1) {
		case 2: // the first entry is on its way
			close(writes)
			<-waits
		case 4: // the second one is
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				t.Error("whoever wrote an entry of his own writes those of others")
			}
		}
		return time.Date(2026, 1, 15, 10, 0, 0, 0, time.UTC)
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		add(t, l, 1)
	}()
	<-writes
	second := make(chan error)
	go func() { second <- l.Append(Entry{Who: "log", Did: "x"}) }()
	for waiting := 0; waiting == 0; runtime.Gosched() {
		l.mu.Lock()
		waiting = len(l.waiting)
		l.mu.Unlock()
	}
	close(waits)
	if err := <-second; err != nil {
		t.Error(err)
	}
	if n := asked.Load(); n != 4 {
		t.Errorf("the clock was asked %d times: this test knows of 4", n)
	}
}

func TestOldSegmentsAreDroppedWhole(t *testing.T) {
	dir, keys := t.TempDir(), auditor(t)
	l, c := newLog(t, dir, keys)
	for range 16 { // months
		add(t, l, 2)
		c.set(c.now().AddDate(0, 1, 0))
	}
	names, err := segments(dir)
	if err != nil || len(names) < 12 || len(names) > 14 {
		t.Errorf("%d segments, %v", len(names), err)
	}
	r, err := Verify(dir, keys)
	if err != nil || r.First < 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := os.Remove(filepath.Join(dir, names[0])); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(dir, keys); err == nil {
		t.Error("a segment is missing, and no entry says so")
	}
}

// TestNothingGoesOnUnseen breaks the folder.
func TestNothingGoesOnUnseen(t *testing.T) {
	dir := t.TempDir()
	l, _ := newLog(t, dir, auditor(t))
	add(t, l, 1)
	path := only(t, dir)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(b, []byte(`"mac"`), []byte(`"nac"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if l.Append(Entry{Who: "log", Did: "x"}) == nil || l.Healthy() == nil {
		t.Error("appended behind a line that was changed")
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if l.Append(Entry{Who: "log", Did: "x"}) == nil {
		t.Error("an entry was lost, and the log goes on")
	}
}

func TestObject(t *testing.T) {
	for token, want := range map[string]string{"k1.y1JVo3Bj7K6clmq-zzMUWQ": "k1.y1JV", "r12.abcdefgh": "r12.abcd", "": "", "deny": "deny"} {
		if got := Object(token); got != want {
			t.Errorf("%q: %q", token, got)
		}
	}
}

// BenchmarkAppend is one entry on the disk, with others waiting.
func BenchmarkAppend(b *testing.B) {
	l, _ := newLog(b, b.TempDir(), auditor(b))
	e := Entry{Who: "key:aaaaaaaa", Did: "numbers.release", Object: "k1.abcd", Before: "generation 1", After: "generation 2"}
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Append(e); err != nil {
				b.Error(err)
			}
		}
	})
}

// FuzzLine: whatever is taken for a line is written in one way.
func FuzzLine(f *testing.F) {
	b, _, err := chain{}.next(Entry{Who: "key:aaaaaaaa", Did: "lists.add", After: "x"}, auditor(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add(strings.ReplaceAll(string(b), "who", "Who"))
	f.Add(`{"mac":"` + strings.Repeat("A", 22) + "\"}\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, signed, _, err := parse([]byte(text))
		if err == nil && (!strings.HasPrefix(text, signed) || len(text) != len(signed)+len(macMark)+22+3) {
			t.Error("a line that is not what was read")
		}
	})
}
