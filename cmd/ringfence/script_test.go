package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

// TestScripts runs the scripts of testdata/script, each in a folder of its own and without variables of
// whoever runs the test. Besides what testscript has, there are
//
//	exits CODE [COMMAND...]   the command ends with this code
//	server [ARG...]           ringfence serve on a free port, which RINGFENCE_SERVER then names
//	stop                      ends it
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "server": serveScript, "stop": stopScript,
		},
		RequireExplicitExec: true,
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		code = ended.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// running is the server of a script.
type running struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has said everything
}

// servers are those of the scripts that run, by script.
var servers sync.Map

func serveScript(ts *testscript.TestScript, _ bool, args []string) {
	path, err := exec.LookPath("ringfence")
	ts.Check(err)
	cmd := exec.Command(path, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...) //nolint:noctx // stop or the end of the script ends it
	cmd.Dir = ts.Getenv("WORK")
	cmd.Env = []string{"HOME=" + ts.Getenv("HOME"), "PATH=" + ts.Getenv("PATH")}
	stderr, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	r := &running{cmd, make(chan struct{})}
	ts.Defer(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewReader(stderr)
	line, err := lines.ReadBytes('\n')
	var first struct{ Addr string }
	if err != nil || json.Unmarshal(line, &first) != nil || first.Addr == "" {
		ts.Fatalf("the server did not say where it listens: %s", line)
	}
	go func() {
		defer close(r.done)
		_, _ = io.Copy(io.Discard, lines)
	}()
	servers.Store(ts, r)
	ts.Setenv("RINGFENCE_SERVER", "http://"+first.Addr)
}

func stopScript(ts *testscript.TestScript, _ bool, _ []string) {
	r, ok := servers.LoadAndDelete(ts)
	if !ok {
		ts.Fatalf("no server")
	}
	p := r.(*running)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.done
	ts.Check(p.cmd.Wait())
}

// walk calls fn with every command, and the words that call it.
func walk(cmd *cobra.Command, words []string, fn func(*cobra.Command, []string)) {
	fn(cmd, words)
	for _, sub := range cmd.Commands() {
		walk(sub, append(words[:len(words):len(words)], sub.Name()), fn)
	}
}

// TestEveryCommandExplainsItself asks each for help, and calls it wrongly with a number.
func TestEveryCommandExplainsItself(t *testing.T) {
	n := 0
	walk(newRoot(io.Discard), nil, func(cmd *cobra.Command, words []string) {
		n++
		help := command(t, "", append(words, "--help")...)
		if help.code != exitOK || !strings.Contains(help.out, "Usage:") || help.err != "" || strings.Contains(help.out, "\x1b") {
			t.Errorf("%s --help: %+v", words, help)
		}
		if cmd.HasParent() && (cmd.Short == "" || strings.HasSuffix(cmd.Short, ".")) {
			t.Errorf("%s: what does it do", words)
		}
		wrong := command(t, "", append(words, "--nonsense=+12025550143")...)
		if wrong.code != exitUsage || !strings.Contains(wrong.err, "hint: ") || wrong.out != "" {
			t.Errorf("%s with a wrong flag: %+v", words, wrong)
		}
		for _, name := range []string{"+12025550143 +12025550143 +12025550143 +12025550143"} {
			if r := command(t, "", append(words, strings.Fields(name)...)...); r.code != exitUsage || r.out != "" {
				t.Errorf("%s with too many arguments: %+v", words, r)
			}
		}
	})
	if n < 30 {
		t.Errorf("%d commands", n)
	}
}

// TestScriptsRunEveryCommand holds that each command has a script in which it does its work. TestEveryCommandExplainsItself
// has the help and the wrong use of each.
func TestScriptsRunEveryCommand(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	walk(newRoot(io.Discard), nil, func(cmd *cobra.Command, words []string) {
		name := strings.Join(words, " ")
		if cmd.HasSubCommands() || name == "serve" || strings.HasPrefix(name, "completion ") {
			return // scripts have a word of their own for serve; other shells are as bash
		}
		if runs := regexp.MustCompile(`(?m)^exec (sh -c '|)ringfence ` + name + `\b`); !runs.MatchString(all.String()) {
			t.Errorf("no script runs ringfence %s", name)
		}
	})
}
