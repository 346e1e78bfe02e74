package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringfence/ringfence/api"
)

// TestSealedKeyring seals a keyring, serves with it, and seals it under another passphrase.
func TestSealedKeyring(t *testing.T) {
	data := t.TempDir()
	one, two := write(t, "one", "correct horse battery staple\n"), write(t, "two", "staple battery horse correct")
	short, open := write(t, "short", "12345\n"), write(t, "open", "correct horse battery staple")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	steps := func(cases ...[3]string) {
		t.Helper()
		for _, c := range cases {
			r := command(t, "", append(strings.Fields(c[0]), "--data", data)...)
			if want := map[string]int{"ok": exitOK, "failed": exitFailed}[c[1]]; r.code != want || !r.says(c[2]) {
				t.Errorf("%s: exit %d, want %q:\n%s%s", c[0], r.code, c[2], r.out, r.err)
			}
			if all := r.out + r.err; strings.Contains(all, "battery") || strings.Contains(all, "12345") {
				t.Errorf("%s shows a passphrase", c[0])
			}
		}
	}
	steps(
		[3]string{"keys init --seal", "failed", "name a file with --passphrase-file"},
		[3]string{"keys init --seal --passphrase-file " + short, "failed", "fewer than 12 bytes"},
		[3]string{"keys init --seal --passphrase-file " + open, "failed", "chmod 600"},
		[3]string{"keys init --seal --passphrase-file none", "failed", "no such file"},
		[3]string{"keys init --seal --passphrase-file " + one, "ok", "back it up"},
		[3]string{"keys init --seal", "failed", "exists"},
		[3]string{"keys ls", "failed", "no terminal"},
		[3]string{"keys ls --passphrase-file " + two, "failed", "another passphrase"},
		[3]string{"keys ls --passphrase-file " + one, "ok", "primary"},
		[3]string{"serve", "failed", "no terminal"},
	)
	file, err := os.ReadFile(filepath.Join(data, "keyring.json"))
	if err != nil || bytes.Contains(file, []byte("secret")) || bytes.Contains(file, []byte("primary")) {
		t.Errorf("the keyring is not sealed: %v", err)
	}
	p := start(t, data, "--passphrase-file", one)
	var a api.Assessment
	if err := p.post(t, "/v1/assessments", `{"event":"signup","phone_number":"+12025550143"}`, &a); err != nil {
		t.Error(err)
	}
	if err := p.stop(syscall.SIGTERM); err != nil || strings.Contains(p.log.String(), "not sealed") {
		t.Errorf("%v: %s", err, p.log.String())
	}
	steps(
		[3]string{"keys reseal --passphrase-file " + one, "failed", "--new-passphrase-file"},
		[3]string{"keys reseal --passphrase-file " + one + " --new-passphrase-file " + two, "ok", "is sealed"},
		[3]string{"keys ls --passphrase-file " + one, "failed", "another passphrase"},
		[3]string{"keys reseal --plain --passphrase-file " + two, "ok", "warning"},
		[3]string{"keys ls", "ok", "primary"},
	)
	p = start(t, data)
	again := a
	if err := p.post(t, "/v1/assessments", `{"event":"signup","phone_number":"+12025550143"}`, &again); err != nil || again.PhoneToken != a.PhoneToken {
		t.Errorf("another keyring came back: %v", err)
	}
	if err := p.stop(syscall.SIGTERM); err != nil || !strings.Contains(p.log.String(), "not sealed") {
		t.Errorf("no warning: %v", err)
	}
}

// TestSystemdCredential hands a passphrase over as systemd does.
func TestSystemdCredential(t *testing.T) {
	data, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, credential), []byte("correct horse battery staple"), 0o440); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if err := start(t, data).stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := command(t, "", "keys", "ls", "--data", data); r.code != exitOK {
		t.Errorf("with the credential: %v", r)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if r := command(t, "", "keys", "ls", "--data", data); r.code != exitFailed {
		t.Errorf("a keyring that the first start made is not sealed: %v", r)
	}
}
