package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/bench/load"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// dieVar makes the test binary a process that is killed; its value is the folder.
const dieVar = "RINGFENCE_SCALE_DIE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(dieVar); dir != "" {
		var mu sync.Mutex
		err := die(context.Background(), small(dir), func(p load.Party) {
			mu.Lock()
			defer mu.Unlock()
			_, _ = fmt.Println(p.Phone)
		})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(os.Args) > 1 && os.Args[1] == "-die" { // started by recover
		main()
	}
	os.Exit(m.Run())
}

func small(dir string) settings {
	return settings{
		dir: dir, phones: 50, mix: "uniform", workers: 16, events: 2000, unflushed: 3000, cache: 1 << 20,
		maxDisk: 1 << 30, maxRSS: 8 << 30, maxTime: time.Minute,
	}
}

// TestRecoveryCountsWhatWasAcknowledged kills a process under load, with thousands of events that only the log has. Afterwards every event that
// was acknowledged counts, and none counts that is not logged, or twice.
func TestRecoveryCountsWhatWasAcknowledged(t *testing.T) {
	s := small(t.TempDir())
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), dieVar+"="+s.dir)
	var out bytes.Buffer
	if err := killed(cmd, &out); err != nil {
		t.Fatal(err)
	}
	acknowledged := map[hashing.Subject]uint64{}
	g, err := s.open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = g.store.Close() }()
	var source load.Source
	eventOf := func(phone uint64) *engine.Event {
		ev := new(engine.Event)
		source.SignupOf(g.hasher, load.Party{Phone: phone}, ev)
		ev.Kind, ev.Domain = 0, g.hasher.Domain() // only looks
		return ev
	}
	lines := 0
	for in := bufio.NewScanner(&out); in.Scan(); lines++ {
		var phone uint64
		if _, err := fmt.Sscan(in.Text(), &phone); err != nil {
			t.Fatal(err)
		}
		acknowledged[eventOf(phone).Subjects[hashing.Phone]]++
	}
	if lines < 3000 {
		t.Fatalf("%d events were acknowledged", lines)
	}
	logged := map[hashing.Subject]uint64{}
	if err := g.store.Scan(t.Context(), g.hasher.Domain(), engine.EventID{}, func(e *record.Entry) error {
		logged[e.Subjects[hashing.Phone]]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for phone := range s.phones {
		ev := eventOf(phone)
		o, err := g.store.Observe(t.Context(), ev)
		if err != nil {
			t.Fatal(err)
		}
		who := ev.Subjects[hashing.Phone]
		counted := o.Records[hashing.Phone].Total(scoring.Signup)
		if counted != logged[who] || counted < acknowledged[who] {
			t.Errorf("phone %d: %d acknowledged, %d logged, %d counted", phone, acknowledged[who], logged[who], counted)
		}
	}
}

// TestMeasure goes through every step, which shows that they work and nothing else.
func TestMeasure(t *testing.T) {
	dir := t.TempDir() + "/scale"
	s := small(dir)
	s.phones = 2000
	for _, s.cached = range []bool{false, true} {
		var out strings.Builder
		if err := measure(t.Context(), s, &out, t.Output()); err != nil {
			t.Fatal(err)
		}
		t.Log(out.String())
		if !strings.Contains(out.String(), "| 2000 | uniform | ") || strings.Count(out.String(), "\n") != 5 {
			t.Errorf("not a table of one row: %s", &out)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("the folder is left behind: %v", err)
		}
	}
	s.maxRSS = 1
	if err := measure(t.Context(), s, io.Discard, t.Output()); err == nil || !strings.Contains(err.Error(), "max-rss") {
		t.Errorf("more memory than may be: %v", err)
	}
	for _, args := range []string{"-phones 1", "-mix other", "-events 0"} {
		if _, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%s is taken", args)
		}
	}
}
