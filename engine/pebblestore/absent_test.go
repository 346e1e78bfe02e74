package pebblestore

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/hashing"
)

func TestGuessFollowsTheMajority(t *testing.T) {
	var g guess
	learn := func(n int, absent ...bool) {
		for range n {
			for _, a := range absent {
				g.note(a)
			}
		}
	}
	if g.absent() {
		t.Error("absent is what is guessed of the first")
	}
	learn(1000, true, true, false)
	if !g.absent() {
		t.Error("two of three were absent")
	}
	learn(sureness, false)
	if g.absent() {
		t.Error("as many as make sure were there")
	}
	learn(1000, false)
	learn(sureness+1, true)
	if !g.absent() {
		t.Error("a thousand that were there count for more than make sure")
	}
}

// TestBothWaysReadTheSame reads records that are there, not there and no longer there, each in both ways, from
// tables above and on the last level.
func TestBothWaysReadTheSame(t *testing.T) {
	s := mustOpen(t, Options{Keys: testKeys, Create: true, FS: vfs.NewMem(), Fatal: func(err error) { panic(err) }})
	defer func() { _ = s.Close() }()
	subject := func(n byte) hashing.Subject { return hashing.Subject{Kind: hashing.Phone, Key: 1, ID: [16]byte{n}} }
	keep := func(n byte, b []byte) {
		sh := &s.shards[shardOf(subject(n))]
		sh.mu.Lock()
		defer sh.mu.Unlock()
		s.flush.note(0, sh.put(subject(n), b, true))
	}
	flush := func() {
		if err := s.flush.flush(s.lastSeq.Load); err != nil {
			t.Fatal(err)
		}
	}
	want := map[byte]string{1: "one", 2: "two", 3: "", 4: ""}
	keep(1, []byte("one"))
	keep(3, []byte("three"))
	flush()
	if err := s.db.Compact(t.Context(), []byte{tableSubject}, []byte{tableSubject + 1}, false); err != nil {
		t.Fatal(err)
	}
	keep(2, []byte("two"))
	keep(3, nil)
	flush()
	for n, record := range want {
		for _, balance := range []int32{-sureness, sureness} {
			s.guesses[hashing.Phone].balance.Store(balance)
			b, done, err := s.readRecord(appendSubjectKey(nil, subject(n)), hashing.Phone)
			if err != nil || string(b) != record || (done == nil) != (record == "") {
				t.Errorf("record %d: %q, %v, want %q (guess %d)", n, b, err, record, balance)
			}
			if done != nil && done.Close() != nil {
				t.Error("cannot close")
			}
		}
	}
}

// TestMissesTeachTheGuess holds that what is read for events is what the guess is made from.
func TestMissesTeachTheGuess(t *testing.T) {
	s := mustOpen(t, Options{Keys: testKeys, Create: true, FS: vfs.NewMem(), Fatal: func(err error) { panic(err) }})
	defer func() { _ = s.Close() }()
	ev := signup()
	ev.Subjects[hashing.Device] = hashing.Subject{}
	for n := range byte(5) {
		ev.Subjects[hashing.Phone].ID[1] = n
		if err := s.Assess(t.Context(), ev, new(engine.Decision), func(*engine.Observation, *engine.Decision) {}); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.guesses[hashing.Phone].balance.Load(); n != 5 {
		t.Errorf("five phones were new, the balance is %d", n)
	}
	if n := s.guesses[hashing.Device].balance.Load(); n != 0 {
		t.Errorf("no device was given, the balance is %d", n)
	}
}
