package pebblestore

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
)

// disk is a file system with as much free space as it is told.
type disk struct {
	vfs.FS
	free atomic.Uint64
}

func (d *disk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.free.Load()}, nil
}

func TestNothingIsChangedBelowTheReserve(t *testing.T) {
	d := &disk{FS: vfs.NewMem()}
	d.free.Store(1000)
	s := mustOpen(t, Options{Keys: testKeys, Create: true, FS: d, Reserve: 1000, Fatal: func(err error) { panic(err) }})
	if _, err := s.AdoptPolicy(t.Context(), 1, []byte("live"), 1); err != nil {
		t.Fatal(err)
	}
	assess := func() error {
		return s.Assess(t.Context(), signup(), new(engine.Decision), func(*engine.Observation, *engine.Decision) {})
	}
	for round := range 3 {
		d.free.Store(1000)
		s.space.look()
		if err := assess(); err != nil || s.Full() {
			t.Errorf("round %d, at the reserve: %v", round, err)
		}
		d.free.Store(999)
		s.space.look()
		if err := assess(); !errors.Is(err, engine.ErrFull) || !s.Full() {
			t.Errorf("round %d, below the reserve: %v", round, err)
		}
		if _, err := s.Observe(t.Context(), signup()); err != nil {
			t.Errorf("a look below the reserve: %v", err)
		}
		if _, err := s.AdoptPolicy(t.Context(), 1, []byte{byte(round)}, 1); !errors.Is(err, engine.ErrFull) {
			t.Errorf("a policy below the reserve: %v", err)
		}
		if version, err := s.AdoptPolicy(t.Context(), 1, []byte("live"), 1); err != nil || version != 1 {
			t.Errorf("the live policy below the reserve: version %d, %v", version, err)
		}
		if err := s.AddPolicy(t.Context(), 1, &engine.PolicyVersion{Source: []byte("x")}, nil); !errors.Is(err, engine.ErrFull) {
			t.Errorf("a new policy below the reserve: %v", err)
		}
		if _, err := s.Sweep(t.Context(), 1_900_000_000); err != nil {
			t.Errorf("sweeping below the reserve: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if counted, logged := recovered(t, d); counted != 3 || logged != 3 {
		t.Errorf("%d are counted, %d logged", counted, logged)
	}
}

// quiet returns when the store writes nothing by itself any longer: a flush that met the last byte while a test fills the
// disk would give the ballast away, and the test would fill that as well.
func quiet(t *testing.T, s *Store) {
	t.Helper()
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	for m := s.db.Metrics(); m.Compact.NumInProgress > 0 || m.Flush.NumInProgress > 0; m = s.db.Metrics() {
		runtime.Gosched()
	}
}

// TestAFullDisk fills a small disk to the last byte between two looks: the ballast lets what is under way
// succeed, and changes are refused from then on, until there is room; and a store opens on a full disk.
// Memtables are small, since the log is given room for a whole one in advance, which writes could go on to.
func TestAFullDisk(t *testing.T) {
	dir := smallDisk(t, "192m")
	o := Options{Keys: testKeys, Create: true, Reserve: 32 << 20, Ballast: 24 << 20, MemTableBytes: 1 << 20, Fatal: func(err error) { panic(err) }}
	s, err := Open(filepath.Join(dir, "store"), o)
	if err != nil {
		t.Fatal(err)
	}
	close(s.quit) // this test looks when it wants to
	s.beside.Wait()
	acknowledged := atomic.Int64{}
	write := func() {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 3000 {
					switch err := s.Assess(t.Context(), signup(), new(engine.Decision), func(_ *engine.Observation, d *engine.Decision) { d.Values = make([]float64, 900) }); {
					case errors.Is(err, engine.ErrFull):
						return
					case err != nil:
						t.Error(err)
						return
					}
					acknowledged.Add(1)
				}
			})
		}
		wg.Wait()
	}
	for round := range 2 {
		if s.space.look(); s.Full() {
			t.Fatal("there is room")
		}
		quiet(t, s)
		fill(t, filepath.Join(dir, "filler"))
		before := acknowledged.Load()
		if write(); !s.Full() || acknowledged.Load() == before {
			t.Fatalf("round %d: %d changes more, full %v", round, acknowledged.Load()-before, s.Full())
		}
		if _, err := s.Observe(t.Context(), signup()); err != nil {
			t.Errorf("a look at a full disk: %v", err)
		}
		if round == 0 {
			remove(t, filepath.Join(dir, "filler"))
		}
	}
	s.quit = make(chan struct{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	remove(t, filepath.Join(dir, "filler"))
	if s, err = Open(filepath.Join(dir, "store"), o); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(dir, "filler"))
	if s, err = Open(filepath.Join(dir, "store"), o); err != nil {
		t.Fatalf("a full disk: %v", err)
	}
	looking := signup()
	looking.Kind = 0
	if seen, err := s.Observe(t.Context(), looking); err != nil || int64(seen.Records[1].Total(1)) != acknowledged.Load() {
		t.Errorf("%d events were acknowledged: %v", acknowledged.Load(), err)
	}
	if !s.Full() && s.FreeBytes() < uint64(o.Reserve) { // an Open that deletes old files may make room
		t.Errorf("changes are taken with %d bytes free", s.FreeBytes())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// smallDisk returns a folder on a disk of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("cannot mount a file system: %v", err)
		}
		t.Skip("SKIPPED: needs the right to mount a file system")
	}
	t.Cleanup(func() { _ = exec.CommandContext(context.Background(), "umount", "-l", dir).Run() })
	return dir
}

// fill writes a file until nothing fits any more.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 64<<10)
	for err == nil {
		_, err = file.Write(chunk)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
