package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringfence/ringfence/api"
)

// ran is what a command did.
type ran struct {
	code     int
	out, err string
}

// says reports whether a text is in what was printed, columns taken as one space.
func (r ran) says(text string) bool {
	return strings.Contains(strings.Join(strings.Fields(r.out+r.err), " "), strings.Join(strings.Fields(text), " "))
}

// command runs the program within the test, in which no terminal is.
func command(t *testing.T, stdin string, args ...string) ran {
	t.Helper()
	var out, err bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(stdin), &out, &err)
	r := ran{code, out.String(), err.String()}
	if strings.Contains(r.err, "5550143") {
		t.Errorf("%q repeats the number", args)
	}
	return r
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestAskAServer goes through the commands that talk to a running server.
func TestAskAServer(t *testing.T) {
	data := t.TempDir()
	numbers := write(t, "numbers.txt", "+12025550143\n")
	p := start(t, data)
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := command(t, "", "lists", "import", "disposable", numbers, "--data", data); r.code != exitOK {
		t.Fatal(r)
	}
	p = start(t, data)
	var a api.Assessment
	r := command(t, "+1 202 555 0143\n", "assess", "-", "--account", "u_81", "-o", "json", "--server", p.url)
	if err := json.Unmarshal([]byte(r.out), &a); err != nil || r.code != exitOK || a.Reasons[0].Code != "LIST_DISPOSABLE" {
		t.Fatal(r, err)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"assess +12025550143 --peek", exitOK, "signups_1h 2"},
		{"assess +12025550143 --peek -o ndjson", exitOK, `"signups_1h":2`},
		{"assess --ip x", exitFailed, "ip format"},
		{"outcome " + a.AssessmentID + " verified", exitOK, "linked true"},
		{"outcome " + a.AssessmentID + " perhaps", exitFailed, "outcome unknown_value"},
		{"lists ls", exitOK, "disposable\n"},
		{"lists ls disposable", exitOK, a.PhoneToken + "\timport\t"},
		{"lists ls disposable -o ndjson", exitOK, `"phone_token":"` + a.PhoneToken + `"`},
		{"lists rm disposable " + a.PhoneToken, exitOK, "removed"},
		{"lists rm disposable " + a.PhoneToken, exitOK, "it was not on the list"},
		{"lists rm disposable k1.x", exitFailed, "token format"},
	} {
		r := command(t, "", append(strings.Fields(c.args), "--server", p.url)...)
		if r.code != c.code || !r.says(c.says) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s%s", c.args, r.code, c.code, c.says, r.out, r.err)
		}
	}
	if r := command(t, "", "doctor", "--data", data, "--server", p.url); r.code != exitOK || strings.Count(r.out, "ok ") != 6 {
		t.Errorf("doctor beside a server: %v", r)
	}
	if r := command(t, "", "doctor", "--data", data, "--server", "http://127.0.0.1:1"); r.code != exitOK || !r.says("name its address with --server") {
		t.Errorf("doctor beside a server whose address it does not know: %v", r)
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := command(t, "", "assess", "+12025550143", "--server", p.url); r.code != exitUnreachable || !strings.Contains(r.err, "hint: start it") {
		t.Errorf("without a server: %v", r)
	}
}

func TestDoctor(t *testing.T) {
	data := t.TempDir()
	nobody := []string{"--server", "http://127.0.0.1:1", "--data", data}
	doctor := func() ran { return command(t, "", append([]string{"doctor"}, nobody...)...) }
	if r := doctor(); r.code != exitNotMet || strings.Count(r.out, "wrong ") != 2 || !strings.Contains(r.out, "hint: ") {
		t.Errorf("nothing there: %v", r)
	}
	if err := start(t, data).stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := doctor(); r.code != exitOK || !strings.Contains(r.out, "-      server") {
		t.Errorf("in order: %v", r)
	}
	keyring := filepath.Join(data, "keyring.json")
	if err := os.Chmod(keyring, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := doctor(); r.code != exitNotMet || !strings.Contains(r.out, "chmod 600") {
		t.Errorf("a keyring that others can read: %v", r)
	}
	if err := os.WriteFile(keyring, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := doctor(); r.code != exitNotMet || !strings.Contains(r.out, "wrong  keyring") || !strings.Contains(r.out, keyring) || strings.Contains(r.out, "keys init") {
		t.Errorf("a broken keyring: %v", r)
	}
}

// TestReplayOldEvents holds that a list changes nothing about numbers that are not on it, however old the events are.
func TestReplayOldEvents(t *testing.T) {
	var lines strings.Builder
	for i := range 9 {
		fmt.Fprintf(&lines, `{"occurred_at":"2025-01-02T03:04:0%dZ","event":"signup","phone_number":"+12025550144","account_id":"a%d"}`+"\n", i, i)
	}
	events, list := write(t, "events.ndjson", lines.String()), write(t, "list.txt", "+12025550143\n")
	without, with := command(t, "", "replay", events), command(t, "", "replay", events, "--list", "disposable="+list)
	if without.code != exitOK || !without.says("block 4") || with.out != without.out {
		t.Errorf("with a list\n%swithout\n%s", with.out, without.out)
	}
}

func TestReplayCommand(t *testing.T) {
	events := write(t, "events.csv", "occurred_at,caller,label\n2026-01-02 03:04:05,+1 202 555 0143,abuse\n2026-01-02 03:04:04,2025550143,\nx,y,z,w\n")
	list := write(t, "list.txt", "+12025550143\nx\n")
	mapped := []string{"--map", "phone_number=caller", "--set", "event=signup,default_region=US"}
	for _, c := range []struct {
		args string
		code int
		says []string
	}{
		{"replay --sort -o ndjson " + events, exitOK, []string{`{"id":"line-3","decision":"allow"`, `"label":"abuse"`, "line 4 refused", "events assessed 2"}},
		{"replay --sort --strict " + events, exitNotMet, []string{"malformed"}},
		{"replay --max-lateness 0s " + events, exitOK, []string{"line 3 refused", "late"}},
		{"replay --list disposable=" + list + " " + events, exitOK, []string{"2 read, 1 on list disposable, 1 refused", "review 2 1"}},
		{"replay --list disposable=- " + events, exitOK, []string{"0 read, 0 on list disposable"}},
		{"replay --list disposable=" + list + " --strict " + events, exitNotMet, nil},
		{"replay --list 12025550143=" + list + " " + events, exitUsage, []string{"list's name"}},
		{"replay --max-lateness -1s " + events, exitUsage, nil},
		{"replay none.csv", exitFailed, []string{"no such file"}},
		{"replay " + write(t, "x.gz", "no gzip"), exitFailed, []string{"not packed with gzip"}},
		{"replay -", exitOK, []string{"lines 0"}},
	} {
		r := command(t, "", append(strings.Fields(c.args), mapped...)...)
		for _, want := range append(c.says, "") {
			if r.code != c.code || !r.says(want) {
				t.Errorf("%s: exit %d, want %d and %q:\n%s%s", c.args, r.code, c.code, want, r.out, r.err)
			}
		}
	}
}

func TestDemoCommand(t *testing.T) {
	table := command(t, "", "demo", "--people", "60")
	if table.code != exitOK || !table.says("refused 0") || !strings.Contains(table.out, "at or above") {
		t.Errorf("demo: %v", table)
	}
	if again := command(t, "", "demo", "--people", "60"); again.out != table.out {
		t.Error("a demo does not repeat")
	}
	made := command(t, "", "demo", "--people", "60", "--show")
	if replayed := command(t, made.out, "replay", "-"); replayed.out != table.out {
		t.Errorf("what demo shows replays as something else:\n%s%s", table.out, replayed.out)
	}
	few := command(t, "", "demo", "--people", "60", "--events", "25", "-o", "ndjson")
	if lines := strings.Count(few.out, "\n"); lines != 25 {
		t.Errorf("%d of 25 events", lines)
	}
	if r := command(t, "", "demo", "--events", "-1"); r.code != exitUsage {
		t.Errorf("less than no events: exit %d", r.code)
	}
	if r := command(t, "", "demo", "--people", "0"); r.code != exitUsage {
		t.Errorf("nobody: %v", r)
	}
}

// TestInterrupted sends the signal of Ctrl-C to a program that waits for its standard input.
func TestInterrupted(t *testing.T) {
	for _, args := range []string{"replay -", "replay --sort -o ndjson -", "backtest -"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], strings.Fields(args)...)
		cmd.Env = append(os.Environ(), "RINGFENCE_TEST_MAIN=1")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// More than a pipe holds: when it is written, the program is reading.
		if _, err := in.Write(bytes.Repeat([]byte("{\"label\":\"abuse\",\"for\":\"e\"}\n"), 1<<15)); err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != exitInterrupted {
			t.Errorf("%s: exit %d", args, cmd.ProcessState.ExitCode())
		}
	}
}

// TestBrokenPolicy holds that a policy that cannot be used is told of with the place, once each, and a way out.
func TestBrokenPolicy(t *testing.T) {
	policy := write(t, "p.yaml", "name: p\nscore:\n  - {code: N, when: verified >, points: 5}\ndecisions: {challenge: 80, review: 60, block: 40}\n")
	data := t.TempDir()
	for args, code := range map[string]int{"serve --init --data " + data + " --policy ": exitFailed, "policy lint ": exitNotMet, "replay /dev/null --policy ": exitFailed} {
		r := command(t, "", strings.Fields(args+policy)...)
		if r.code != code || !r.says("line 3, column ") || !r.says("line 4, column 36: a stricter decision") || strings.Count(r.err, "a stricter decision") != 1 ||
			!strings.Contains(r.err, "\nhint: correct the lines") {
			t.Errorf("%s: exit %d\n%s", args, r.code, r.err)
		}
	}
	if left, err := os.ReadDir(data); err != nil || len(left) != 0 {
		t.Errorf("a server that refused to start left %v, %v", left, err)
	}
}

func TestPolicyTestCommand(t *testing.T) {
	policy := write(t, "p.yaml", "name: p\nsignals:\n  n: {subject: phone, count: signup, window: 1h}\nscore:\n  - {code: N, signal: n, points: {2: 50}}\ndecisions: {block: 50}\n")
	for cases, want := range map[string]ran{
		"- {name: few, given: {n: 1}, want: {decision: allow, score: 0}}":   {exitOK, "1 of 1 cases passed", ""},
		"- {name: many, given: {n: 2}, want: {decision: allow, score: 50}}": {exitNotMet, "line 1: many: decision is block, not allow", ""},
		"- {name: typo, given: {m: 2}, want: {decision: allow}}":            {exitFailed, "line 1, column 24", "did you mean n?"},
	} {
		r := command(t, "", "policy", "test", write(t, "cases.yaml", cases), "--policy", policy)
		if all := r.out + r.err; r.code != want.code || !strings.Contains(all, want.out) || !strings.Contains(all, want.err) {
			t.Errorf("%s: %v", cases, r)
		}
	}
}

func TestHelpRepeatsNothing(t *testing.T) {
	for _, args := range [][]string{{"help", "+12025550143"}, {"completion", "+12025550143"}, {"help", "lists", "+12025550143"}, {"assess", "1", "+12025550143"}} {
		if r := command(t, "", args...); r.code != exitUsage || strings.Contains(fmt.Sprint(r), "5550143") {
			t.Errorf("%v: %v", args, r)
		}
	}
	if r := command(t, "", "completion", "bash"); r.code != exitOK || !strings.Contains(r.out, "bash completion") {
		t.Errorf("completion: %v", r.code)
	}
}

// TestRealList imports a list of 125,878 numbers and finds one of them on it.
func TestRealList(t *testing.T) {
	path := filepath.Join("..", "..", "..", "shared", "data", "disposable_numbers.json.gz")
	in, err := openInput(path, nil)
	if os.IsNotExist(err) && (os.Getenv("CI") != "true" || os.Getenv("RINGFENCE_DATA") == "none") {
		t.Skip("SKIPPED: the list is not beside the checkout")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	data := t.TempDir()
	if err := start(t, data).stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	r := command(t, "", "lists", "import", "disposable", path, "--data", data)
	if r.code != exitOK || !r.says("125878 read, 125842 on list disposable, 36 refused 36 not_in_use") {
		t.Fatalf("exit %d: %s", r.code, r.err[max(0, len(r.err)-200):])
	}
	d := json.NewDecoder(in)
	if _, err := d.Token(); err != nil {
		t.Fatal("the list is no JSON object")
	}
	number, err := d.Token()
	if err != nil {
		t.Fatal("the list is empty")
	}
	var a api.Assessment
	body, err := json.Marshal(api.AssessmentRequest{PhoneNumber: fmt.Sprint("+", number), Event: "signup"})
	if err != nil {
		t.Fatal(err)
	}
	if err := start(t, data).post(t, "/v1/assessments", string(body), &a); err != nil || a.Reasons[0].Code != "LIST_DISPOSABLE" {
		t.Errorf("a number of the list: %v, %v", a.Reasons, err)
	}
}
