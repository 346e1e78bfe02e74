package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/scoring"
)

// fence is one block of code of a page.
type fence struct {
	line       int
	kind, text string
}

func fences(page string) []fence {
	var all []fence
	var open *fence
	n := 0
	for l := range strings.Lines(page) {
		n++
		mark, fenced := strings.CutPrefix(l, "```")
		switch {
		case fenced && open == nil:
			open = &fence{line: n, kind: strings.TrimSpace(mark)}
		case fenced:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += l
		}
	}
	return all
}

// docPage runs what one page tells to type, in a folder of its own, from top to bottom.
type docPage struct {
	t      *testing.T
	dir    string
	server *process
}

// TestDocs executes every block of shell, Go, Python and YAML of every page.
func TestDocs(t *testing.T) {
	for _, topic := range topics() {
		t.Run(topic, func(t *testing.T) {
			text, err := pages.ReadFile("docs/" + topic + ".md")
			if err != nil {
				t.Fatal(err)
			}
			p := &docPage{t: t, dir: t.TempDir()}
			p.wrap()
			for _, f := range fences(string(text)) {
				p.run(f)
			}
		})
	}
}

// wrap puts a program named ringfence where the shell finds it: this one.
func (p *docPage) wrap() {
	p.t.Helper()
	script := "#!/bin/sh\ncase \"$1 $2\" in assess*|outcome*|erase*|doctor*|policy\\ publish|policy\\ history|policy\\ rollback|policy\\ shadow|policy\\ calibrate|*\\ --running)\n" +
		"set -- \"$@\" --server \"$RINGFENCE_URL\";; esac\n" +
		"RINGFENCE_TEST_MAIN=1 exec \"$RINGFENCE_PROGRAM\" \"$@\"\n"
	if err := os.WriteFile(filepath.Join(p.dir, "ringfence"), []byte(script), 0o755); err != nil {
		p.t.Fatal(err)
	}
}

func (p *docPage) run(f fence) {
	p.t.Helper()
	switch f.kind {
	case "sh server":
		p.server = start(p.t, filepath.Join(p.dir, ".ringfence"))
	case "sh":
		p.exec(f, "bash", "-euo", "pipefail", "-c", p.local(f.text))
	case "go":
		p.exec(f, "go", "run", p.file(f, "main.go"))
	case "python":
		if _, err := exec.LookPath("python3"); err != nil && os.Getenv("CI") != "true" {
			p.t.Log("SKIPPED: there is no python3")
			return
		}
		p.exec(f, "python3", p.file(f, "main.py"))
	case "yaml":
		if _, err := scoring.Compile([]byte(f.text)); err != nil {
			p.t.Errorf("line %d: %v", f.line, err)
		}
	case "":
	default:
		p.t.Errorf("line %d: nobody checks blocks of %s", f.line, f.kind)
	}
}

// local takes the server of the test for the one of the page.
func (p *docPage) local(text string) string {
	if p.server == nil {
		return text
	}
	return strings.ReplaceAll(text, "http://127.0.0.1:8080", p.server.url)
}

func (p *docPage) file(f fence, name string) string {
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(p.local(f.text)), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

func (p *docPage) exec(f fence, program string, args ...string) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), program, args...)
	if program != "go" { // which has to find the module
		cmd.Dir = p.dir
	}
	cmd.Env = append(os.Environ(), "PATH="+p.dir+":"+os.Getenv("PATH"), "RINGFENCE_PROGRAM="+os.Args[0])
	if p.server != nil {
		cmd.Env = append(cmd.Env, "RINGFENCE_URL="+p.server.url)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Errorf("line %d: %v\n%s", f.line, err, out)
	}
}

// TestPolicyReference holds that the page says what the program does. RINGFENCE_NEW_GOLDEN=policy writes it anew.
func TestPolicyReference(t *testing.T) {
	text, err := pages.ReadFile("docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(text), "\n## ")
	want := head + "\n" + strings.TrimSpace(scoring.Reference()) + "\n"
	if os.Getenv("RINGFENCE_NEW_GOLDEN") == "policy" {
		if err := os.WriteFile("docs/policy.md", []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if head+"\n## "+rest != want {
		t.Error("docs/policy.md is not what scoring.Reference says; write it with RINGFENCE_NEW_GOLDEN=policy go test ./cmd/ringfence -run PolicyReference")
	}
}

// TestDocsNameEveryCall holds that the page of the API has the calls of openapi.yaml and no other.
func TestDocsNameEveryCall(t *testing.T) {
	text, err := pages.ReadFile("docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	path := ""
	for l := range strings.Lines(string(api.OpenAPI())) {
		name, rest, ok := strings.Cut(l, ":")
		switch {
		case ok && strings.HasPrefix(name, "  /") && strings.TrimSpace(rest) == "":
			path = strings.TrimSpace(name)
		case path != "" && ok && strings.HasPrefix(name, "    ") && strings.Contains(" get post put delete patch ", " "+strings.TrimSpace(name)+" ") && name[4] != ' ':
			want["`"+strings.ToUpper(strings.TrimSpace(name))+" "+path+"`"] = true
		case !strings.HasPrefix(l, " "):
			path = ""
		}
	}
	if len(want) < 10 {
		t.Fatalf("only %d calls in openapi.yaml", len(want))
	}
	for call := range want {
		if !strings.Contains(string(text), "| "+call+" |") {
			t.Errorf("%s is not in docs/api.md", call)
		}
	}
	for l := range strings.Lines(string(text)) {
		if call, _, ok := strings.Cut(strings.TrimPrefix(l, "| "), " |"); ok && strings.HasPrefix(l, "| `") && !want[call] {
			t.Errorf("%s is not in openapi.yaml", call)
		}
	}
}

func TestDocsCommand(t *testing.T) {
	if r := command(t, "", "docs"); r.code != exitOK || !r.says("start Getting started") {
		t.Errorf("docs: %v", r)
	}
	if r := command(t, "", "docs", "policy"); r.code != exitOK || !strings.HasPrefix(r.out, "# Policy reference\n") {
		t.Errorf("docs policy: %v", r)
	}
	if r := command(t, "", "docs", "../main"); r.code != exitUsage || !strings.Contains(r.err, "start") {
		t.Errorf("no such page: %v", r)
	}
	if r := command(t, "", "openapi"); r.code != exitOK || !strings.HasPrefix(r.out, "openapi: 3.1") {
		t.Errorf("openapi: %v", r.code)
	}
}
