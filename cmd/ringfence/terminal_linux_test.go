package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// terminal returns the two ends of a pseudo terminal: of whoever types, and of the program.
func terminal(t *testing.T) (typist, program *os.File) {
	t.Helper()
	typist, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no pseudo terminals: %v", err)
		}
		t.Skip("SKIPPED: no pseudo terminals here")
	}
	t.Cleanup(func() { _ = typist.Close() })
	var number, locked int32
	for request, value := range map[uintptr]*int32{syscall.TIOCSPTLCK: &locked, syscall.TIOCGPTN: &number} {
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, typist.Fd(), request, uintptr(unsafe.Pointer(value))); e != 0 {
			t.Fatal(e)
		}
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return typist, program
}

// TestPassphraseFromATerminal types passphrases when it is asked for them.
func TestPassphraseFromATerminal(t *testing.T) {
	folder := t.TempDir()
	for _, c := range []struct {
		args  string
		typed []string
		code  int
		says  string
	}{
		{"keys init --seal", []string{"correct horse battery", "correct horse batterie"}, exitFailed, "differ"},
		{"keys init --seal", []string{"correct horse battery", "correct horse battery"}, exitOK, "back it up"},
		{"keys ls", []string{"correct horse batterie"}, exitFailed, "another passphrase"},
		{"keys ls", []string{"correct horse battery"}, exitOK, "primary"},
	} {
		typist, program := terminal(t)
		cmd := exec.CommandContext(t.Context(), os.Args[0], append(strings.Fields(c.args), "--data", folder)...)
		cmd.Env = append(os.Environ(), "RINGFENCE_TEST_MAIN=1")
		cmd.Stdin = program
		var out, data bytes.Buffer
		cmd.Stdout = &data
		words, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(words)
		for _, text := range c.typed {
			prompt, err := r.ReadString(':')
			out.WriteString(prompt)
			if err != nil {
				t.Fatalf("%s: not asked: %s", c.args, &out)
			}
			if _, err := typist.WriteString(text + "\n"); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = r.WriteTo(&out)
		_ = cmd.Wait()
		_, _ = data.WriteTo(&out)
		if got := cmd.ProcessState.ExitCode(); got != c.code || !strings.Contains(out.String(), c.says) || strings.Contains(out.String(), "horse") {
			t.Errorf("%s: exit %d, want %d and %q: %s", c.args, got, c.code, c.says, &out)
		}
	}
}
