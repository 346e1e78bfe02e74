package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/scoring"
)

// TestPoliciesOfAServer goes through the life of a policy: shadow, publish, probabilities, rollback, a restart.
func TestPoliciesOfAServer(t *testing.T) {
	data := t.TempDir()
	p := start(t, data)
	at := func(args string, more ...string) ran {
		return command(t, "", append(append(strings.Fields(args), more...), "--server", p.url)...)
	}
	file := stricterPolicy(t)
	for _, c := range []struct {
		r    ran
		code int
		says string
	}{
		{at("policy shadow " + file), exitUsage, "--note says why"},
		{at("policy shadow "+file, "--note", "is it too strict"), exitOK, "in shadow version 2"},
		{at("policy publish 2", "--note", "call 202 555 0199"), exitFailed, "note format"},
		{at("policy publish 9", "--note", "x"), exitFailed, "no such version"},
		{at("policy publish x", "--note", "x"), exitFailed, "no such file"},
		{at("policy diff @1 @2"), exitOK, "block: from a score of 95, was 80: milder"},
		{at("policy diff @live default"), exitOK, "both decide the same"},
		{at("policy diff @x default"), exitUsage, "a version is a number"},
	} {
		if c.r.code != c.code || !c.r.says(c.says) {
			t.Errorf("want %d and %q: %+v", c.code, c.says, c.r)
		}
	}
	for i := range 24 {
		for _, c := range []struct{ event, phone, outcome string }{{"signup", "+12025550143", "abuse"}, {"sign_in", fmt.Sprintf("+120255501%02d", i), "legitimate"}} {
			var a api.Assessment
			r := at("assess "+c.phone+" -o json --event "+c.event, "--account", fmt.Sprint("a", i))
			if err := json.Unmarshal([]byte(r.out), &a); err != nil {
				t.Fatal(r, err)
			}
			at("outcome " + a.AssessmentID + " " + c.outcome)
		}
	}
	if r := at("policy shadow"); r.code != exitOK || !r.says("version 2 48 events 25 numbers, the busiest with 50.00 %") || !r.says("block review instead 1: 1 abuse") {
		t.Errorf("the report: %+v", r)
	}
	if r := at("policy calibrate --maturity 1h"); r.code != exitNotMet || !r.says("20 labels") {
		t.Errorf("labels that are too young: %+v", r)
	}
	if r := at("policy calibrate 1"); r.code != exitOK || !r.says("score probability of abuse labels") || !r.says("100.00 %") {
		t.Errorf("calibrated: %+v", r)
	}
	if r := at("assess +12025550143 --peek -o ndjson"); !r.says(`"probability":1,"calibration_labels":`) || !r.says(`"shadow":[{"version":2,`) {
		t.Errorf("an answer: %+v", r)
	}
	if r := at("policy publish 2 --replaces 7", "--note", "late"); r.code != exitFailed || !r.says("Another version is live") {
		t.Errorf("over another version: %+v", r)
	}
	if r := at("policy publish 2", "--note", "it did well"); r.code != exitOK || !r.says("live version 2") || !r.says("block: from a score of 95, was 80: milder") || r.says("in shadow") {
		t.Errorf("published: %+v", r)
	}
	if r := at("policy rollback 1", "--note", "too mild"); r.code != exitOK || !r.says("live version 3") {
		t.Errorf("rolled back: %+v", r)
	}
	if r := at("assess +12025550143 --peek -o ndjson"); !r.says(`"version":3`) || !r.says(`"probability":1,"calibration_labels":`) {
		t.Errorf("an answer after the rollback: %+v", r)
	}
	broken := write(t, "broken.yaml", "name: x\nscore: [{code: A, when: nobody, points: 5}]\ndecisions: {block: 50}\n")
	if r := at("policy publish "+broken, "--note", "x"); r.code != exitFailed || !r.says("line 2, column") {
		t.Errorf("a broken file: %+v", r)
	}
	history := func() {
		t.Helper()
		if r := at("policy history"); r.code != exitOK || !r.says("3 default live") || !r.says("equal to version 1: too mild") || !r.says("rolled back 3 2") || !r.says("shadow begins 2") || !r.says("adopted 1") {
			t.Errorf("history: %+v", r)
		}
	}
	history()
	tried := triedThere(t, at, file)
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for args, there := range tried {
		here := command(t, "", append(strings.Fields(args), "--data", data)...)
		if here.code != there.code || here.out != there.out {
			t.Errorf("%s on the server: %+v\nand on its data: %+v", args, there, here)
		}
	}
	p = start(t, data)
	history()
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := at("policy history"); r.code != exitUnreachable {
		t.Errorf("without a server: %+v", r)
	}
	if r := at("tune --running --max-fpr 0.1"); r.code != exitUnreachable {
		t.Errorf("without a server: %+v", r)
	}
	if r := command(t, "", "backtest", "--data", data); r.code != exitOK || !r.says("stricter: 0 events") || !r.says("milder: 0 events") {
		t.Errorf("the log by what is live: %+v", r)
	}
}

// triedThere tries policies on the log of a server that runs, and returns what came of it by the arguments that should do the same on its data.
func triedThere(t *testing.T, at func(string, ...string) ran, file string) map[string]ran {
	t.Helper()
	tried := map[string]ran{}
	asOf := " -o json --as-of " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, args := range []string{
		"backtest", "backtest --mode replay --policy " + file, "backtest --maturity 30m --examples 3 --seed 7 --cost-fp 2 --cost-fn 5",
		"tune --max-fpr 0.1", "tune --points --min-precision 0.5",
	} {
		args += asOf
		tried[args] = at(args + " --running")
		if tried[args].code != exitOK || !tried[args].says(`"digest"`) {
			t.Errorf("%s: %+v", args, tried[args])
		}
	}
	for args, says := range map[string]string{
		"backtest --running " + file:          "takes no FILE",
		"backtest --running -o ndjson":        "no events",
		"backtest --running --examples 101":   "examples range",
		"backtest --running --domain shop":    "--domain is for a data folder",
		"tune --running --max-fpr 0.1 --sort": "--sort is for a data folder",
		"backtest --data nowhere":             "--server is for --running",
	} {
		if r := at(args); r.code == exitOK || !r.says(says) {
			t.Errorf("%s: %+v", args, r)
		}
	}
	return tried
}

// TestStalePolicy holds that a backtest says so when its file was changed meanwhile.
func TestStalePolicy(t *testing.T) {
	file := write(t, "p.yaml", string(scoring.Default().Source()))
	policy, err := readPolicy(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &past{policy: policy, file: file}
	if p.edited() || (&past{policy: policy}).edited() {
		t.Error("edited, though nobody did")
	}
	if err := os.WriteFile(file, append(policy.Source(), "# more\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if !p.edited() {
		t.Error("not edited, though somebody did")
	}
	if r := command(t, "", "backtest", madeUp(t), "--policy", file); r.code != exitOK || r.says("stale") {
		t.Errorf("nobody touched it: %.300v", r)
	}
}
