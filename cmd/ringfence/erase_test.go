package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// TestErase has a number counted by a client that sends idempotency keys, forgets it, and looks for what is
// left of it on the disk.
func TestErase(t *testing.T) {
	data := t.TempDir()
	p := start(t, data)
	client := &api.Client{BaseURL: p.url}
	var a *api.Assessment
	for range 3 {
		var err error
		a, err = client.Assess(t.Context(), api.AssessmentRequest{PhoneNumber: "+12025550143", Event: "signup", AccountID: "u_81", IP: "203.0.113.7", Verified: true})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 90 {
		other := api.AssessmentRequest{PhoneNumber: fmt.Sprintf("+120255501%02d", i), Event: "signup", DeviceID: fmt.Sprint(i)}
		if _, err := client.Assess(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.AddEntry(t.Context(), "vip", api.ListEntry{PhoneNumber: "+12025550143"}); err != nil {
		t.Fatal(err)
	}
	erase := func(stdin string) (e api.EraseAnswer) {
		t.Helper()
		r := command(t, stdin, "erase", "-o", "ndjson", "--server", p.url)
		if err := json.Unmarshal([]byte(r.out), &e); err != nil || r.code != exitOK {
			t.Fatal(r, err)
		}
		return e
	}
	known, unknown := erase("+1 202 555 0143\n"), erase("+12025550199")
	if len(known.Receipt) != len(unknown.Receipt) || known.Receipt == unknown.Receipt || known.ErasedAt == "" {
		t.Errorf("answers %+v and %+v", known, unknown)
	}
	for _, c := range []struct{ stdin, says string }{{"", "standard input"}, {"12", "phone_number"}, {"k1.x", "token format"}} {
		if r := command(t, c.stdin, "erase", "--server", p.url); r.code == exitOK || !r.says(c.says) {
			t.Errorf("%q: %v, want %q", c.stdin, r, c.says)
		}
	}
	if r := command(t, "+12025550143", "erase", "--server", p.url); r.code != exitOK || !r.says("receipt") {
		t.Errorf("erased again: %v", r)
	}
	profile, err := client.Lookup(t.Context(), api.PhoneRequest{PhoneToken: a.PhoneToken})
	if err != nil || profile.Known || len(profile.Lists) > 0 || len(profile.Timeline) > 0 {
		t.Errorf("after the erasure: %v, %v", profile, err)
	}
	if r := command(t, "", "store", "compact", "--hard", "--data", data); r.code != exitStore {
		t.Errorf("beside a server: %v", r)
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := command(t, "", "store", "verify", "--data", data); r.code != exitOK {
		t.Error(r)
	}
	if r := command(t, "", "store", "compact", "--hard", "--data", data); r.code != exitOK {
		t.Fatal(r)
	}
	phone, err := hashing.ParseToken(a.PhoneToken)
	if err != nil {
		t.Fatal(err)
	}
	id, err := record.ParseEventID(a.AssessmentID)
	if err != nil {
		t.Fatal(err)
	}
	scan(t, data, string(phone.ID[3:11]), a.PhoneToken[3:], string(id[8:]), a.AssessmentID, strings.ToUpper(a.AssessmentID))
}
