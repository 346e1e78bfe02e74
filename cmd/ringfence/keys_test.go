package main

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/ringfence/ringfence/api"
)

// TestRotateUnderAServer rotates the key of a server that runs, sees what was known move, and destroys the old key.
func TestRotateUnderAServer(t *testing.T) {
	data := t.TempDir()
	p := start(t, data)
	client := &api.Client{BaseURL: p.url}
	ask := func(number, account string) *api.Assessment {
		t.Helper()
		a, err := client.Assess(t.Context(), api.AssessmentRequest{PhoneNumber: number, Event: "signup", AccountID: account, Verified: true})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	before := ask("+12025550143", "u_81")
	ask("+12025550199", "u_82")
	if _, err := client.AddEntry(t.Context(), "vip", api.ListEntry{PhoneNumber: "+12025550199"}); err != nil {
		t.Fatal(err)
	}
	if r := command(t, "", "keys", "rotate", "--data", data); r.code != exitOK || !r.says("a server that runs goes on with it") {
		t.Fatal(r)
	}
	after := ask("+12025550143", "u_83")
	if !strings.HasPrefix(before.PhoneToken, "k1.") || !strings.HasPrefix(after.PhoneToken, "k2.") || after.Accounts.Verified != 2 {
		t.Errorf("tokens %.3s and %.3s, %d accounts", before.PhoneToken, after.PhoneToken, after.Accounts.Verified)
	}
	if r := command(t, "", "keys", "ls", "--data", data); r.code != exitOK || !r.says("readable") || !r.says("3 subjects") {
		t.Errorf("keys: %v", r) // the number that was not seen again, and both accounts of before; its block moved with the other number
	}
	privacy, err := client.Privacy(t.Context())
	if err != nil || len(privacy.Keys) != 2 || privacy.Keys[1].State != "primary" || privacy.Retention.SubjectSeconds == 0 {
		t.Errorf("%+v, %v", privacy, err)
	}
	p.metric(t, `ringfence_key_subjects{key="1"}`)
	p.metric(t, fmt.Sprintf(`ringfence_build_info{goversion=%q,version="devel"} 1`, runtime.Version()))
	if r := command(t, "", "keys", "destroy", "1", "--data", data); r.code != exitStore {
		t.Errorf("beside a server: %v", r)
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := command(t, "", "keys", "destroy", "1", "--data", data); r.code != exitFailed || !r.says("3 subjects") || !r.says("--force") {
		t.Errorf("in use: %v", r)
	}
	if r := command(t, "", "keys", "destroy", "1", "--force", "--data", data); r.code != exitOK || !r.says("3 subjects") || !r.says("import again: vip") {
		t.Errorf("by force: %v", r)
	}
	for _, wrong := range []string{"1", "2", "x"} {
		if r := command(t, "", "keys", "destroy", wrong, "--data", data); r.code == exitOK {
			t.Errorf("destroyed %s: %v", wrong, r)
		}
	}
	if r := command(t, "", "store", "verify", "--data", data); r.code != exitOK {
		t.Error(r)
	}
	if r := command(t, "", "audit", "verify", "--data", data); r.code != exitOK {
		t.Error(r)
	}
	q := start(t, data)
	client.BaseURL = q.url
	if _, err := client.Lookup(t.Context(), api.PhoneRequest{PhoneToken: before.PhoneToken}); err == nil {
		t.Error("a token of a destroyed key is good")
	}
	if profile, err := client.Lookup(t.Context(), api.PhoneRequest{PhoneNumber: "+12025550143"}); err != nil || profile.Accounts.Verified != 2 {
		t.Errorf("what had moved: %v, %v", profile, err)
	}
}

// metric waits until a server shows a metric.
func (p *process) metric(t *testing.T, name string) {
	t.Helper()
	for {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/metrics", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(w.Body)
		_ = w.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), name) {
			return
		}
	}
}

// TestRotateASealedKeyring rotates under a server that has the passphrase from a file, and without one.
func TestRotateASealedKeyring(t *testing.T) {
	data, words := t.TempDir(), write(t, "words", "correct horse\n")
	if r := command(t, "", "keys", "init", "--seal", "--passphrase-file", words, "--data", data); r.code != exitOK {
		t.Fatal(r)
	}
	if r := command(t, "", "keys", "rotate", "--passphrase-file", words, "--data", data); r.code != exitOK || !r.says("when it is started") {
		t.Errorf("without a server: %v", r)
	}
	p := start(t, data, "--passphrase-file", words)
	if r := command(t, "", "keys", "rotate", "--passphrase-file", words, "--data", data); r.code != exitOK || !r.says("a server that runs goes on with it") {
		t.Errorf("with a server: %v", r)
	}
	a, err := (&api.Client{BaseURL: p.url}).Assess(t.Context(), api.AssessmentRequest{PhoneNumber: "+12025550143", Event: "signup"})
	if err != nil || !strings.HasPrefix(a.PhoneToken, "k3.") {
		t.Errorf("%v, %v", a, err)
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}
