package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	for _, must := range []string{"DynamicUser=yes", "ProtectSystem=strict", "LoadCredential=" + credential + ":", "Restart=on-failure", "LimitCORE=0", "ExecStart=/usr/local/bin/ringfence serve "} {
		if !strings.Contains(unit, "\n"+must) {
			t.Errorf("the unit lacks %s", must)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("SKIPPED: systemd is not here")
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

// TestKubernetesArguments holds that serve takes the arguments of the pod.
func TestKubernetesArguments(t *testing.T) {
	_, rest, _ := strings.Cut(packaged(t, "kubernetes.yaml"), "args:\n")
	args, _, _ := strings.Cut(rest, "ports:")
	checkServeFlags(t, "the pod", strings.Fields(strings.ReplaceAll(args, "- ", "")))
}
