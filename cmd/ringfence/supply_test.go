package main

import (
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestBuildsAreReproducible clones the commit into two folders and builds it in each. With
// RINGFENCE_LONG=1 each has a cache of its own, so that everything is compiled twice; without, only
// what depends on the folder could differ.
func TestBuildsAreReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: links the program twice")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "git", "-C", root, "rev-parse", "HEAD").CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no commit to build: %s", out)
		}
		t.Skipf("SKIPPED: no commit to build: %s", out)
	}
	var sums [2][sha256.Size]byte
	for i, name := range []string{"a", "another-folder"} {
		dir := filepath.Join(t.TempDir(), name)
		env := append(os.Environ(), "CGO_ENABLED=0")
		if os.Getenv("RINGFENCE_LONG") == "1" {
			env = append(env, "GOCACHE="+t.TempDir())
		}
		for _, c := range [][]string{
			{"git", "clone", "-q", "--no-hardlinks", root, dir},
			{"go", "build", "-C", dir, "-trimpath", "-buildvcs=true", "-o", "ringfence", "./cmd/ringfence"},
		} {
			cmd := exec.CommandContext(t.Context(), c[0], c[1:]...)
			cmd.Env = env
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", c, err, out)
			}
		}
		program, err := os.ReadFile(filepath.Join(dir, "ringfence"))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(program)
		if strings.Contains(string(program), dir) {
			t.Error("the program names the folder it was built in")
		}
	}
	if sums[0] != sums[1] {
		t.Error("two builds of one commit differ")
	}
}

// mayWrite is what workflows may do beyond reading, and why is said where they say so.
var mayWrite = map[string][]string{"release.yml": {"contents: write", "id-token: write", "attestations: write"}}

// writes finds rights to write in every form that YAML has for them, comments left out.
var writes = regexp.MustCompile(`[\w-]+:\s*["']?(write(-all)?)\b`)

// TestWorkflowsArePinned looks at every action that a workflow uses, and at what it may do.
func TestWorkflowsArePinned(t *testing.T) {
	files, err := filepath.Glob("../../.github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	pinned := regexp.MustCompile(`uses: ([a-z-]+/[a-z-]+@[0-9a-f]{40} # v\d|\./\.github/workflows/[a-z]+\.yml$)`)
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimRight(line, "\n")
			if strings.Contains(line, "uses:") && !pinned.MatchString(line) {
				t.Errorf("%s: not pinned by commit: %s", filepath.Base(path), strings.TrimSpace(line))
			}
			code, _, _ := strings.Cut(line, " #")
			for _, right := range writes.FindAllString(code, -1) {
				if !slices.Contains(mayWrite[filepath.Base(path)], right) {
					t.Errorf("%s may do more than read: %s", filepath.Base(path), right)
				}
			}
			if strings.Contains(code, "pull_request_target") || strings.Contains(code, "secrets") {
				t.Errorf("%s gives away what only maintainers may have: %s", filepath.Base(path), strings.TrimSpace(line))
			}
		}
		if !strings.Contains(string(text), "\npermissions: {}\n") {
			t.Errorf("%s: jobs have rights that they do not name", filepath.Base(path))
		}
	}
}
