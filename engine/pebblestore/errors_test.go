package pebblestore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/ringfence/ringfence/engine"
)

// How the process of a faulty disk ended.
const (
	exitDone    = 0 // everything was done: the error was borne
	exitStopped = 7 // fail-stop: Options.Fatal
	exitRefused = 8 // Open or Close returned an error
	exitWrong   = 9 // an answer was wrong
	exitError   = 6 // a call returned an error, after which its writer stopped
)

// faulty are bounds under which a hundred steps flush a few times.
var faulty = Options{CacheBytes: shardCount, DirtyBytes: 32 << 10, MaxUnflushed: 60, recoverAtOnce: 7}

// TestMain lets the test binary be a process whose disk fails, so that it can die of it.
func TestMain(m *testing.M) {
	if at := os.Getenv("RINGFENCE_TEST_FAULT"); at != "" {
		os.Exit(workOnFaultyDisk(at, os.Getenv("RINGFENCE_TEST_DIR")))
	}
	os.Exit(m.Run())
}

// workOnFaultyDisk opens a store, works on it and closes it, twice over, on a disk where one write fails, or with
// a "+" behind the number every one from there on. It tells its notes on stdout.
func workOnFaultyDisk(at, dir string) int {
	text, forever := strings.CutSuffix(at, "+")
	fails, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 1
	}
	var writes atomic.Int64
	fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpFilePreallocate {
			return nil
		}
		if n := writes.Add(1) - 1; n == fails || forever && n > fails {
			return errorfs.ErrInjected
		}
		return nil
	}))
	w := newTeller(os.Stdout)
	o := faulty
	o.Keys, o.Create, o.FS, o.Fatal = testKeys, true, fs, func(error) { os.Exit(exitStopped) }
	for round := range uint64(2) {
		s, err := Open(dir, o)
		if err != nil {
			return exitRefused
		}
		if err := w.work(s, 4, 25, round); err != nil {
			fmt.Fprintln(os.Stderr, err)
			if strings.Contains(err.Error(), "WRONG") {
				return exitWrong
			}
			return exitError
		}
		if _, err := w.check(s, w.known()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return exitWrong
		}
		if err := s.Close(); err != nil {
			return exitRefused
		}
	}
	fmt.Fprintln(os.Stderr, "writes", writes.Load())
	return exitDone
}

// newTeller returns a witness that tells what it notes, a line each.
func newTeller(out *os.File) *witness {
	var mu sync.Mutex
	return &witness{limit: 3, told: func(note byte, of []byte) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintf(out, "%c%x\n", note, of) // a pipe whose reader is gone ends the process
	}}
}

// heard returns a witness with the notes that one in another process told. A last line that was cut short is no note.
func heard(told []byte) (*witness, error) {
	w := &witness{limit: 3}
	for lines := bufio.NewScanner(bytes.NewReader(told)); lines.Scan(); {
		line := lines.Text()
		of, err := hex.DecodeString(line[1:])
		if err != nil {
			return nil, err
		}
		w.note(line[0], of)
	}
	return w, nil
}

// fault runs a process whose disk fails at one write, and holds what it leaves against what it was told.
func fault(t *testing.T, at string, root string) (code int, said string, err error) {
	dir, err := os.MkdirTemp(root, "store")
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	store := filepath.Join(dir, "store")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), "RINGFENCE_TEST_FAULT="+at, "RINGFENCE_TEST_DIR="+store)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // says where it hangs
	cmd.WaitDelay = 10 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		return 0, "", err
	}
	code, said = cmd.ProcessState.ExitCode(), errs.String()
	if ctx.Err() != nil {
		return code, said, errors.New("the process hung")
	}
	w, err := heard(out.Bytes())
	if err != nil {
		return code, said, err
	}
	o := faulty
	o.Keys, o.Create, o.Fatal = testKeys, true, func(err error) { panic(err) } // Create: the error may have come before there was a store
	s, err := Open(store, o)
	if err != nil {
		return code, said, fmt.Errorf("does not open again: %w", err)
	}
	_, err = w.check(s, w.known())
	return code, said, errors.Join(err, s.Close())
}

// endOf says how a process ended, "" when it should not have ended like that. Pebble panics on some errors, such as that it cannot
// sync the folder of a marker: that stops the process as well as anything, and what it leaves is held against the notes all the same.
// When an Open fails late, Pebble closes its file cache (v2.1.7) beside work in the background that still uses it, and one of them
// panics now and then.
func endOf(code int, said string) string {
	switch {
	case code == exitDone:
		return "borne"
	case code == exitStopped:
		return "fail-stop"
	case code == exitRefused:
		return "Open or Close refused"
	case code == exitError:
		return "a call returned an error"
	case code == 2 && ownerOfPanic(said) == "github.com/cockroachdb/pebble":
		return "fail-stop by a panic in Pebble"
	case code == 2 && strings.Contains(said, "panic: ") && strings.Contains(said, "github.com/cockroachdb/pebble/v2/internal/genericcache."):
		return "fail-stop by a panic in Pebble, shutting down"
	}
	return ""
}

// ownerOfPanic returns the repository whose code panicked, "" when nothing did.
func ownerOfPanic(said string) string {
	_, trace, _ := strings.Cut(said, "panic: ")
	_, path, _ := strings.Cut(trace, "github.com/")
	parts := strings.SplitN(path, "/", 3)
	if len(parts) < 3 {
		return ""
	}
	return "github.com/" + parts[0] + "/" + parts[1]
}

// memoryRoot is a folder for stores whose disk fails by decree: in memory where there is some.
func memoryRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ringfence")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestWriteErrors makes one write after the other fail, each in a process of its own, once or from there on. The process
// bears it, or stops; it never gives a wrong answer, and what it leaves opens again with all that it acknowledged.
func TestWriteErrors(t *testing.T) {
	root := memoryRoot(t)
	code, said, err := fault(t, "-1", root)
	var writes int
	if _, scanned := fmt.Sscanf(said, "writes %d", &writes); code != exitDone || err != nil || scanned != nil {
		t.Fatalf("without a fault: exit %d, %v, %s", code, err, said)
	}
	n := rounds(24, 500, 5000)
	ends := &places{seen: map[string]int{}}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := int(next.Add(1) - 1); i < n && !t.Failed(); i = int(next.Add(1) - 1) {
				at := strconv.Itoa(i * writes / n)
				if i%2 == 1 {
					at += "+"
				}
				code, said, err := fault(t, at, root)
				end := endOf(code, said)
				ends.add(end)
				if err != nil || end == "" {
					t.Errorf("write %s of %d: exit %d, %v\n%s", at, writes, code, err, said)
				}
			}
		})
	}
	wg.Wait()
	ends.log(t)
	if t.Failed() {
		return
	}
	t.Logf("%d faults over %d writes: 0 lost, 0 wrong answers, all opened again", n, writes)
}

// TestOpenOnADiskThatTakesNoTables holds that opening ends, with the process, when what the log holds cannot be written to
// tables: Pebble tries again for ever.
func TestOpenOnADiskThatTakesNoTables(t *testing.T) {
	disk := vfs.NewMem()
	o := Options{Keys: testKeys, Create: true, FS: disk, Fatal: func(err error) { panic(err) }}
	s := mustOpen(t, o)
	for range 3 {
		if err := s.Assess(t.Context(), signup(), new(engine.Decision), func(*engine.Observation, *engine.Decision) {}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.FS = errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") {
			return errorfs.ErrInjected
		}
		return nil
	}))
	stopped := make(chan struct{})
	var once sync.Once
	o.Fatal = func(error) {
		once.Do(func() { close(stopped) })
		select {} // the process has ended
	}
	go func() {
		if _, err := Open("store", o); err == nil {
			t.Error("it opened")
		}
		once.Do(func() { close(stopped) }) // an error of Open ends the process too
	}()
	select {
	case <-stopped:
	case <-time.After(20 * time.Second):
		t.Fatal("opening hung")
	}
}
