package pebblestore

import (
	"errors"
	"path"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
)

// TestADamagedBackupDoesNotOpen flips bits of every file of a backup, takes each away, and adds one.
func TestADamagedBackupDoesNotOpen(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, Options{Keys: testKeys, Create: true, FS: fs, Fatal: func(err error) { panic(err) }})
	for i := range 300 {
		if err := s.Assess(t.Context(), spread(i), new(engine.Decision), func(*engine.Observation, *engine.Decision) {}); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 {
			if err := errors.Join(s.flushAll(), s.db.Flush()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(s.Backup(t.Context(), "b"), s.Close()); err != nil {
		t.Fatal(err)
	}
	open := func() error {
		c, err := Open("b", Options{Keys: testKeys, FS: fs, Vouched: true, Damaged: func(error) {}, Fatal: func(err error) { panic(err) }})
		if err == nil {
			err = c.Close()
		}
		return err
	}
	write := func(name string, b []byte) {
		f, err := fs.Create(path.Join("b", name), "test")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(b); errors.Join(err, f.Close()) != nil {
			t.Fatal(err)
		}
	}
	refused := func(what string) {
		t.Helper()
		if err := open(); !errors.Is(err, engine.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	names, err := fs.List("b")
	if err != nil || !slices.Contains(names, SumsName) {
		t.Fatalf("%q: %v", names, err)
	}
	for _, name := range names {
		whole, err := readFile(fs, path.Join("b", name))
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(whole); at += 1 + len(whole)/25 {
			broken := slices.Clone(whole)
			broken[at] ^= 1 << (at % 8)
			write(name, broken)
			refused("a bit of " + name)
		}
		if name != SumsName {
			if err := fs.Remove(path.Join("b", name)); err != nil {
				t.Fatal(err)
			}
			refused("no " + name)
		}
		write(name, whole)
	}
	write("other", nil)
	refused("another file")
	if err := fs.Remove(path.Join("b", "other")); err != nil {
		t.Fatal(err)
	}

	if err := open(); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Stat(path.Join("b", SumsName)); err == nil {
		t.Error("the sums of a folder that changes are there")
	}
	if err := open(); err != nil {
		t.Errorf("with a guard: %v", err)
	}
	if err := fs.Remove(path.Join("b", guardName)); err != nil {
		t.Fatal(err)
	}
	refused("neither sums nor a guard")
}
