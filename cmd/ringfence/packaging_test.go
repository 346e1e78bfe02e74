package main

import (
	"crypto/tls"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"
)

func packaged(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("packaging", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// checkServeFlags holds that serve takes a command line that is packaged.
func checkServeFlags(t *testing.T, where string, args []string) {
	t.Helper()
	cmd := newServe()
	if len(args) == 0 || args[0] != "serve" {
		t.Fatalf("%s: %v", where, args)
	}
	if err := cmd.ParseFlags(args[1:]); err != nil && !errors.Is(err, pflag.ErrHelp) {
		t.Errorf("%s: %v", where, err)
	}
}

// TestUnit asks systemd about the unit, where it is installed.
func TestUnit(t *testing.T) {
	unit := packaged(t, "ringfence.service")
	for line := range strings.Lines(unit) {
		if command, ok := strings.CutPrefix(strings.TrimSpace(line), "ExecStart=/usr/local/bin/ringfence "); ok {
			checkServeFlags(t, "the unit", strings.Fields(command))
		}
	}
	for _, must := range []string{"DynamicUser=yes", "ProtectSystem=strict", "LoadCredential=" + credential + ":", "Restart=on-failure", "StartLimitIntervalSec=0", "LimitCORE=0", "ExecStart=/usr/local/bin/ringfence serve "} {
		if !strings.Contains(unit, "\n"+must) {
			t.Errorf("the unit lacks %s", must)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("systemd-analyze is missing; make tools installs it")
		}
		t.Skip("SKIPPED: systemd is not here; make tools installs it")
	}
	path := filepath.Join(t.TempDir(), "ringfence.service")
	if err := os.WriteFile(path, []byte(strings.Replace(unit, "/usr/local/bin/ringfence", "/bin/true", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"verify", path}, {"security", "--offline=true", "--no-pager", "--threshold=15", path}} { // 1.5 of 10, lower is better
		out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput()
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%.2000s", args[0], err, out)
		}
	}
}

// TestTheWorkflowRunsWhatCIRuns holds the workflow to every command of .ci/run.
func TestTheWorkflowRunsWhatCIRuns(t *testing.T) {
	script, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	workflow, err := os.ReadFile("../../.github/workflows/ci.yml")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(script)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "make ") {
			continue
		}
		if n++; !strings.Contains(string(workflow), " "+line+"\n") {
			t.Errorf("the workflow does not run %s", line)
		}
	}
	if n == 0 {
		t.Error(".ci/run runs nothing")
	}
}

func TestDockerfile(t *testing.T) {
	var last []string // the instructions of the image that is left in the end
	for line := range strings.Lines(packaged(t, "Dockerfile")) {
		if strings.HasPrefix(line, "FROM ") {
			last = nil
		}
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			last = append(last, line)
		}
	}
	image := strings.Join(last, "\n") + "\n"
	for _, must := range []string{"FROM scratch\n", "\nUSER 65532:65532\n", "\nENTRYPOINT [\"/ringfence\"]\n"} {
		if !strings.Contains("\n"+image, must) {
			t.Errorf("the image lacks %q", must)
		}
	}
	if strings.Contains(image, "RUN ") || strings.Contains(image, "ADD ") {
		t.Error("the image is made with more than the program")
	}
	_, command, _ := strings.Cut(image, "\nCMD [")
	checkServeFlags(t, "the image", strings.Split(strings.NewReplacer(`"`, "", "]", "", "\n", "", " ", "").Replace(command), ","))
}

// TestKubernetesStarts runs what the pod runs, on an empty volume, with what the comment says to make first.
func TestKubernetesStarts(t *testing.T) {
	dir := t.TempDir()
	passphrase, keyring, keys := filepath.Join(dir, "passphrase"), filepath.Join(dir, "keyring.json"), filepath.Join(dir, "apikeys.json")
	if err := os.WriteFile(passphrase, []byte("five words and one more"), 0o600); err != nil {
		t.Fatal(err)
	}
	made := []string{"--keyring", keyring, "--passphrase-file", passphrase, "--data", filepath.Join(dir, "here")}
	for _, args := range [][]string{{"keys", "init", "--seal"}, {"apikeys", "create", "--scope", "assess,outcome", "--apikeys", keys}} {
		if r := command(t, "", append(args, made...)...); r.code != exitOK {
			t.Fatalf("%v: %v", args, r)
		}
	}
	ca := newAuthority(t)
	ca.issue(t, 7, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	_, rest, _ := strings.Cut(packaged(t, "kubernetes.yaml"), "args:\n")
	args, _, _ := strings.Cut(rest, "ports:")
	args = strings.NewReplacer("- ", "", "0.0.0.0:8443", "127.0.0.1:0", "=/data", "="+filepath.Join(dir, "volume"), "=/keys", "="+dir, "=/tls", "="+dir).Replace(args)
	p := launch(t, strings.Fields(args))
	if serial, _, err := ca.serial(t, p, new(tls.Config)); err != nil || serial != 7 {
		t.Errorf("certificate %d, %v", serial, err)
	}
	if err := p.stop(syscall.SIGTERM); err != nil || !strings.Contains(p.log.String(), `"keys":1`) {
		t.Errorf("%v\n%s", err, p.log.String())
	}
}
