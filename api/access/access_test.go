package access

import (
	"bytes"
	"crypto/rand"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/hashing"
)

var noon = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

func terms(scopes ...Scope) Key {
	return Key{Scopes: scopes, Domain: "default", Rate: Rate{10, time.Second}, DailySubjects: 100}
}

func newKey(t testing.TB, path string, scopes ...Scope) (Key, string) {
	t.Helper()
	k, secret, err := New(terms(scopes...), rand.Reader, noon)
	if err != nil {
		t.Fatal(err)
	}
	if err := Add(path, k); err != nil {
		t.Fatal(err)
	}
	return k, secret.Reveal()
}

func openRing(t testing.TB, path string) *Ring {
	t.Helper()
	r, err := OpenRing(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestKeysComeAndGo makes and revokes keys beside a ring that is in use.
func TestKeysComeAndGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apikeys.json")
	r := openRing(t, path)
	if r.Needed() || r.Live() != 0 {
		t.Error("keys without a file")
	}
	one, text := newKey(t, path, Assess)
	_, other := newKey(t, path, Read, Tune)
	if err := r.Reload(); err != nil || !r.Needed() || r.Live() != 2 {
		t.Fatalf("%d keys, %v", r.Live(), err)
	}
	c, err := r.Caller(text)
	if err != nil || c.ID != one.ID || !c.May(Assess) || c.May(Read) {
		t.Fatalf("%+v, %v", c, err)
	}
	c.Request(&c.Key, noon)
	if err := Revoke(path, one.ID, noon); err != nil {
		t.Fatal(err)
	}
	if err := Revoke(path, one.ID, noon); !errors.Is(err, ErrNoKey) {
		t.Errorf("revoked twice: %v", err)
	}
	if err := r.Reload(); err != nil || r.Live() != 1 {
		t.Errorf("%d keys, %v", r.Live(), err)
	}
	if _, err := r.Caller(text); !errors.Is(err, ErrDenied) {
		t.Errorf("a revoked key: %v", err)
	}
	if _, err := r.Caller(other); err != nil {
		t.Errorf("the other key: %v", err)
	}
	for name, b := range map[string][]byte{"broken": []byte("{"), "empty": nil} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var bad *FileError
		if err := r.Reload(); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
		if err := r.Reload(); err != nil {
			t.Errorf("%s, told twice: %v", name, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if r.Reload() == nil || r.Reload() != nil || !r.Needed() {
		t.Error("the file is gone, and nobody needs a key")
	}
	if _, err := r.Caller(other); err != nil {
		t.Errorf("behind broken files: %v", err)
	}
}

// TestOnlyTheWholeKeyLetsIn changes every character of a key.
func TestOnlyTheWholeKeyLetsIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apikeys.json")
	_, text := newKey(t, path, Assess)
	r := openRing(t, path)
	if _, err := r.Caller(text); err != nil {
		t.Fatal(err)
	}
	body := text[:strings.LastIndexByte(text, '_')]
	for i := range body {
		for _, c := range []byte("a2zZ_- ") {
			bad := []byte(body)
			if bad[i] == c {
				continue
			}
			bad[i] = c
			if _, err := r.Caller(string(bad) + text[len(body):]); !errors.Is(err, ErrMistyped) {
				t.Errorf("%q at %d with the old check: %v", c, i, err)
			}
			if _, err := r.Caller(string(bad) + checkOf(string(bad))); err == nil {
				t.Errorf("%q at %d lets in", c, i)
			}
		}
	}
	for _, bad := range []string{"", "rf", text + "x", " " + text, strings.ToUpper(text), text[:len(text)-1], strings.Repeat("_", 200)} {
		if _, err := r.Caller(bad); !errors.Is(err, ErrMistyped) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
	if parts := strings.Split(text, "_"); len(parts) != 4 || len(parts[1]) != 8 || len(parts[2]) != 52 || len(parts[3]) != 8 {
		t.Error("another form than the documented one")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	k, secret, err := New(terms(Assess), rand.Reader, noon)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Split(secret.Reveal(), "_")[2]
	type holder struct{ secret Secret }
	for name, v := range map[string]any{"secret": secret, "pointer": &secret, "nested": holder{secret}, "nested pointer": &holder{secret}, "key": k, "slice": []Secret{secret}, "map": map[string]Secret{"a": secret}} {
		var b bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&b, verb, v)
		}
		fmt.Fprint(&b, fmt.Errorf("about %v", v))
		_ = gob.NewEncoder(&b).Encode(v)
		_ = json.NewEncoder(&b).Encode(v)
		slog.New(slog.NewTextHandler(&b, nil)).Info("v", "v", v)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("v", "v", v)
		if strings.Contains(b.String(), text) || strings.Contains(b.String(), fmt.Sprintf("%x", text)) {
			t.Errorf("%s shows the secret", name)
		}
	}
}

func TestTermsAreChecked(t *testing.T) {
	for name, spoil := range map[string]func(*Key){
		"no scope": func(k *Key) { k.Scopes = nil }, "unknown scope": func(k *Key) { k.Scopes = []Scope{"all"} },
		"scope twice": func(k *Key) { k.Scopes = []Scope{Read, Read} }, "no domain": func(k *Key) { k.Domain = "" },
		"no subjects": func(k *Key) { k.DailySubjects = 0 }, "too many": func(k *Key) { k.DailySubjects = MaxDailySubjects + 1 },
		"on error": func(k *Key) { k.OnError = "block" }, "no rate": func(k *Key) { k.Rate = Rate{} }, "odd window": func(k *Key) { k.Rate.Window = 7 },
	} {
		k := terms(Assess)
		spoil(&k)
		var bad *TermsError
		if _, _, err := New(k, rand.Reader, noon); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "50", "50/", "/s", "0/s", "-1/s", "+5/s", "05/s", "5/d", "5/s ", "1000001/s", "99999999999999999999/s"} {
		if _, err := ParseRate(text); err == nil {
			t.Errorf("%q is a rate", text)
		}
	}
	if r, err := ParseRate("50/m"); err != nil || r != (Rate{50, time.Minute}) {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestRate asks as fast as it can, and then at a steady pace.
func TestRate(t *testing.T) {
	var b bucket
	r := Rate{10, time.Second}
	now := noon
	for i := range 10 {
		if ok, left, _ := b.take(r, now); !ok || left != 9-i {
			t.Errorf("request %d: %v, %d left", i, ok, left)
		}
	}
	ok, _, wait := b.take(r, now)
	if ok || wait != 100*time.Millisecond {
		t.Errorf("the eleventh: %v, wait %v", ok, wait)
	}
	if ok, _, _ := b.take(r, now.Add(wait-1)); ok {
		t.Error("let through before its wait")
	}
	passed := 0
	for range 1000 { // ten seconds, at ten times the pace
		now = now.Add(10 * time.Millisecond)
		if ok, _, _ := b.take(r, now); ok {
			passed++
		}
	}
	if passed != 100 {
		t.Errorf("%d requests in ten seconds at 10/s", passed)
	}
	if ok, left, _ := b.take(r, now.Add(time.Hour)); !ok || left != 9 {
		t.Errorf("after an hour: %v, %d left: more than one window was saved up", ok, left)
	}
	if _, _, wait := b.take(r, noon.Add(-time.Hour)); wait > 100*time.Millisecond {
		t.Errorf("a clock that was put back locks the key out for %v", wait)
	}
}

func subject(n int) hashing.Subject {
	s := hashing.Subject{Kind: hashing.Phone, Key: 1}
	copy(s.ID[:], fmt.Sprintf("%08d", n))
	return s
}

func TestSubjectsOfADay(t *testing.T) {
	k := terms(Assess)
	k.DailySubjects = 3
	m := new(Meter)
	for i := range 3 {
		if q := m.Subject(&k, subject(i), noon); !q.OK || q.Left != 2-i {
			t.Errorf("subject %d: %+v", i, q)
		}
	}
	if q := m.Subject(&k, subject(3), noon); q.OK || q.Wait != 12*time.Hour {
		t.Errorf("the fourth: %+v", q)
	}
	if q := m.Subject(&k, subject(1), noon); !q.OK || q.Left != 0 {
		t.Errorf("one of before: %+v", q)
	}
	if q := m.Budget(&k, noon.Add(13*time.Hour)); q.Left != 3 {
		t.Errorf("the next day: %+v", q)
	}
	var wg sync.WaitGroup
	passed := make(chan bool, 100)
	for i := range 100 {
		wg.Go(func() { passed <- m.Subject(&k, subject(i), noon.Add(24*time.Hour)).OK })
	}
	wg.Wait()
	close(passed)
	n := 0
	for ok := range passed {
		if ok {
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d of 100 at the same time, 3 a day", n)
	}
}

// TestNumbersInARow asks for numbers in a row, in an order that is none, and for numbers that are far apart.
func TestNumbersInARow(t *testing.T) {
	k := terms(Assess)
	k.DailySubjects = 10_000
	alarms := func(number func(i int) int) (inRow, alarms int) {
		m := new(Meter)
		for i := range 1000 {
			n := number(i)
			row, alarm := m.Neighbours(subject(n), subject(n-1), subject(n+1), noon)
			m.Subject(&k, subject(n), noon)
			if row {
				inRow++
			}
			if alarm {
				alarms++
			}
		}
		return inRow, alarms
	}
	if inRow, n := alarms(func(i int) int { return 5000 + i }); inRow != 999 || n != 1 {
		t.Errorf("in a row: %d, %d alarms", inRow, n)
	}
	if inRow, n := alarms(func(i int) int { return 5000 + i*337%1000 }); inRow < 600 || n != 1 {
		t.Errorf("in another order: %d, %d alarms", inRow, n)
	}
	if inRow, n := alarms(func(i int) int { return 5000 + 7*i }); inRow != 0 || n != 0 {
		t.Errorf("far apart: %d, %d alarms", inRow, n)
	}
	if inRow, n := alarms(func(int) int { return 5000 }); inRow != 0 || n != 0 {
		t.Errorf("one number over and over: %d, %d alarms", inRow, n)
	}
}

// TestTwoChangesAtATime lose nothing: one is refused and says why.
func TestTwoChangesAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apikeys.json")
	err := Change(path, func(keys []Key) ([]Key, error) {
		var busy *FileError
		if err := Revoke(path, "x", noon); !errors.As(err, &busy) {
			t.Errorf("a change within a change: %v", err)
		}
		return keys, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := Change(path, func([]Key) ([]Key, error) { return []Key{{}}, nil }); err == nil {
		t.Error("wrote what cannot be read")
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%d files: %v", len(left), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil {
		t.Error("others can read it")
	}
}

func FuzzKey(f *testing.F) {
	path := filepath.Join(f.TempDir(), "apikeys.json")
	_, text := newKey(f, path, Assess)
	r := openRing(f, path)
	f.Add(text)
	f.Add(strings.ReplaceAll(text, "_", ""))
	f.Add("rf_aaaaaaaa_" + strings.Repeat("a", 52) + "_00000000")
	f.Fuzz(func(t *testing.T, shown string) {
		if _, err := r.Caller(shown); (err == nil) != (shown == text) {
			t.Errorf("%d bytes: %v", len(shown), err)
		}
	})
}

func FuzzFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), "apikeys.json")
	newKey(f, path, Assess, Read)
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(bytes.Replace(b, []byte(`"10/s"`), []byte(`"0/s"`), 1))
	f.Add(bytes.Replace(b, []byte(`"read"`), []byte(`"assess"`), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := parse("x", b)
		if err != nil {
			var bad *FileError
			if !errors.As(err, &bad) {
				t.Errorf("another kind of error: %v", err)
			}
			return
		}
		for i := range keys {
			if keys[i].check() != nil {
				t.Error("a key that is none")
			}
		}
	})
}

func BenchmarkCaller(b *testing.B) {
	path := filepath.Join(b.TempDir(), "apikeys.json")
	_, text := newKey(b, path, Assess)
	r := openRing(b, path)
	b.ReportAllocs()
	for b.Loop() {
		_ = r.Reload()
		c, err := r.Caller(text)
		if err != nil {
			b.Fatal(err)
		}
		c.Request(&c.Key, noon)
	}
}
