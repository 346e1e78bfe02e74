package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ringfence/ringfence/bench/load"
)

// TestMain lets the test binary be a child, too.
func TestMain(m *testing.M) {
	if played, err := isChild(context.Background()); played {
		if err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// needRedis skips where there is no redis-server. It installs nothing.
func needRedis(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("NO REDIS: there is no redis-server here, so nothing of Redis is tested; make bench-peers installs it")
	}
}

func testRedis(t *testing.T) *redis.Client {
	t.Helper()
	needRedis(t)
	s, err := startRedis(t.Context(), t.TempDir(), "everysec")
	if err != nil {
		t.Fatal(err)
	}
	c := connect(s.socket, 2)
	t.Cleanup(func() {
		_ = c.Close()
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestFullScriptCountsWhatThePolicyAsks(t *testing.T) {
	c := testRedis(t)
	at := time.Unix(1_800_000_000, 0)
	call := func(p load.Party, now time.Time, verified int) []int64 {
		t.Helper()
		n, err := runFull(t.Context(), c, keysOf(p), now, verified)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	want := func(got []int64, want ...int64) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	// counts of the phone, accounts of it, phones of range, account, address and network, links, linked
	want(call(load.Party{Phone: 1, Account: 1, Address: 1}, at, 1), 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
	want(call(load.Party{Phone: 1, Account: 2, Address: 2}, at, 1), 2, 2, 2, 2, 1, 1, 1, 1, 2, 1)
	want(call(load.Party{Phone: 1, Account: 3, Address: 2}, at, 1), 3, 3, 3, 3, 1, 1, 1, 1, 3, 1)
	want(call(load.Party{Phone: 1, Account: 4, Address: 2}, at, 1), 4, 4, 4, 4, 1, 1, 1, 1, 3, 0) // at the limit
	want(call(load.Party{Phone: 2, Account: 4, Address: 2}, at, 0), 1, 1, 1, 1, 2, 2, 2, 2, 0, 0)
	want(call(load.Party{Phone: 2, Account: 4, Address: 2}, at.Add(2*time.Hour), 0), 1, 2, 2, 1, 1, 2, 1, 1, 0, 0)
}

func TestLeanScriptStartsWindowsAnew(t *testing.T) {
	c := testRedis(t)
	at := time.Unix(1_800_000_000, 0)
	for i, step := range []struct {
		after time.Duration
		want  []int64 // hour, day and 30 days of each subject
	}{{0, []int64{1, 1, 1}}, {0, []int64{2, 2, 2}}, {2 * time.Hour, []int64{1, 3, 3}}, {48 * time.Hour, []int64{1, 1, 4}}} {
		n, err := runLean(t.Context(), c, keysOf(load.Party{}), at.Add(step.after))
		if err != nil || !slices.Equal(n[:3], step.want) || !slices.Equal(n[12:], step.want) {
			t.Errorf("step %d: %v, %v, want %v", i, n, err, step.want)
		}
	}
}

// TestCompete lets everybody run for a moment, which shows that they work and nothing else.
func TestCompete(t *testing.T) {
	needRedis(t)
	var out strings.Builder
	s := settings{rounds: 1, open: 1, turn: 100 * time.Millisecond, warm: 50 * time.Millisecond, phones: 1000}
	if err := compete(t.Context(), s, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	for _, name := range newBoard().names {
		if !strings.Contains(out.String(), "| "+name+" | ") || strings.Contains(out.String(), "did not run") {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestBoard(t *testing.T) {
	b := newBoard()
	for i, n := range []uint64{100, 300, 200} {
		r := &load.Result{Events: n, Elapsed: time.Second, CPU: time.Duration(n) * 10 * time.Microsecond}
		b.add(inProcess, turn{Result: r}, false)
		b.add(fullAlways, turn{Result: &load.Result{Events: n / uint64(i+1), Elapsed: time.Second}, server: time.Second}, false)
	}
	if r, ok := b.ratio(inProcess, fullAlways); !ok || r != 2 {
		t.Errorf("the middle of 1, 2 and 3 is %v", r)
	}
	if _, ok := b.ratio(inProcess, leanAlways); ok {
		t.Error("a ratio to somebody who did not run")
	}
	var out strings.Builder
	if err := b.print(&out, "a machine", settings{rounds: 3}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| " + inProcess + " | 200 |", "| 10.0 | the same process |", "| " + leanAlways + " | did not run |",
		"| " + inProcess + " / " + fullAlways + " | 2.00 | 4.00 | NOT MET |", "| at most 10 | met |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
}
