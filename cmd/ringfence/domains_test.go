package main

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringfence/ringfence/api"
)

// TestDomains has callers of two domains ask one server about the same number: neither learns or changes anything of
// the other.
func TestDomains(t *testing.T) {
	data := t.TempDir()
	if err := start(t, data).stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	secret := write(t, "passphrase", "five words or rather more\n")
	flags := []string{"--data", data, "--passphrase-file", secret}
	run := func(args ...string) ran {
		t.Helper()
		return command(t, "", append(args, flags...)...)
	}
	if r := run("keys", "reseal", "--new-passphrase-file", secret); r.code != exitOK {
		t.Fatal(r)
	}
	if r := run("keys", "domains", "add", "shop"); r.code != exitOK {
		t.Fatal(r)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"add", "shop"}, exitFailed, "taken"}, {[]string{"add", "n2025550143"}, exitFailed, "digits"},
		{[]string{"ls"}, exitOK, "1 default k1=1/primary 2 shop k2=1/primary"},
	} {
		if r := run(append([]string{"keys", "domains"}, c.args...)...); r.code != c.code || !r.says(c.says) {
			t.Errorf("keys domains %q: %v, want %q", c.args, r, c.says)
		}
	}
	if r := command(t, "", "keys", "domains", "ls", "--keyring", filepath.Join(data, "keyring.json")); r.code == exitOK {
		t.Error("the keyring is no longer sealed")
	}
	numbers := write(t, "numbers.txt", "+12025550143\n")
	if r := run("lists", "import", "watched", numbers, "--domain", "shop"); r.code != exitOK {
		t.Fatal(r)
	}
	caller := func(p *process, domain string) *api.Client {
		t.Helper()
		r := run("apikeys", "create", "--scope", "assess,outcome,read,tune,admin", "--domain", domain)
		if r.code != exitOK {
			t.Fatal(r)
		}
		return &api.Client{BaseURL: p.url, Key: strings.TrimSpace(r.out)}
	}
	p := start(t, data, "--passphrase-file", secret)
	bank, shop := caller(p, "default"), caller(p, "shop")
	tellsNothing(t, bank, shop)
	changesNothing(t, bank, shop)
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// A policy that serve is given is not for a domain that has published one.
	file := write(t, "policy.yaml", "name: fixed\ndecisions: {block: 90}\n")
	for range 2 {
		p = start(t, data, "--passphrase-file", secret, "--policy", file)
		bank.BaseURL, shop.BaseURL = p.url, p.url
		for c, name := range map[*api.Client]string{bank: "fixed", shop: "own"} {
			a, err := c.Assess(t.Context(), api.AssessmentRequest{PhoneNumber: "+1 202 555 0143", Event: "signup"})
			if err != nil || a.Policy.Name != name {
				t.Errorf("judged by %v, want %s: %v", a, name, err)
			}
		}
		if err := p.stop(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	r := run("audit", "ls")
	if n := strings.Count(r.out, "policies.adopt"); r.code != exitOK || n != 1 || !r.says("version 1 live") {
		t.Errorf("%d entries tell of the policy of the file, want 1: %v", n, r)
	}
}

// changesNothing holds that policies and backtests are a domain's own.
func changesNothing(t *testing.T, bank, shop *api.Client) {
	t.Helper()
	v, err := shop.AddPolicy(t.Context(), api.PolicyRequest{Source: "name: own\ndecisions: {block: 90}\n", Note: "the shop's"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shop.Publish(t.Context(), v.Version, api.RolloutRequest{Note: "the shop's"}, api.IfLive(1)); err != nil {
		t.Fatal(err)
	}
	for c, name := range map[*api.Client]string{bank: "default", shop: "own"} {
		a, err := c.Assess(t.Context(), api.AssessmentRequest{PhoneNumber: "+1 202 555 0143", Event: "signup"})
		if err != nil || a.Policy.Name != name {
			t.Errorf("judged by %v, want %s: %v", a, name, err)
		}
		page, err := c.Policies(t.Context(), "")
		if err != nil || page.Versions[0].Name != name {
			t.Errorf("policies %v, want %s first: %v", page, name, err)
		}
	}
	b, err := shop.StartBacktest(t.Context(), api.BacktestRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bank.Backtest(t.Context(), b.ID); !errors.Is(err, api.ErrUnknownBacktest) {
		t.Errorf("another domain's backtest: %v", err)
	}
	if _, err := bank.CancelBacktest(t.Context(), b.ID); !errors.Is(err, api.ErrUnknownBacktest) {
		t.Errorf("cancelling another domain's backtest: %v", err)
	}
	if _, err := shop.Backtest(t.Context(), b.ID); err != nil {
		t.Error(err)
	}
}

// tellsNothing goes through what the caller of one domain could learn of another.
func tellsNothing(t *testing.T, bank, shop *api.Client) {
	t.Helper()
	event := api.AssessmentRequest{PhoneNumber: "+1 202 555 0143", Event: "signup", AccountID: "u_81", Verified: true}
	assess := func(c *api.Client, key string) *api.Assessment {
		t.Helper()
		a, err := c.Assess(t.Context(), event, api.IdempotencyKey(key))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	assess(bank, "a")
	first := assess(bank, "b")
	other := assess(shop, "b")
	if first.Signals["signups_1h"] != 2 || other.Signals["signups_1h"] != 1 || other.AssessmentID == first.AssessmentID || other.PhoneToken[2:] == first.PhoneToken[2:] {
		t.Errorf("signups %v and %v", first.Signals["signups_1h"], other.Signals["signups_1h"])
	}
	if _, err := shop.Outcome(t.Context(), api.OutcomeRequest{AssessmentID: first.AssessmentID, Outcome: "abuse"}); !errors.Is(err, api.ErrUnknownAssessment) {
		t.Errorf("an outcome of another domain's assessment: %v", err)
	}
	if _, err := shop.Lookup(t.Context(), api.PhoneRequest{PhoneToken: first.PhoneToken}); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("another domain's token: %v", err)
	}
	for name, c := range map[string]*api.Client{"": bank, "watched": shop} {
		profile, err := c.Lookup(t.Context(), api.PhoneRequest{PhoneNumber: event.PhoneNumber})
		if err != nil || strings.Join(profile.Lists, " ") != name {
			t.Errorf("lists %v, want %q: %v", profile, name, err)
		}
	}
	if _, err := shop.Erase(t.Context(), api.PhoneRequest{PhoneNumber: event.PhoneNumber}); err != nil {
		t.Error(err)
	}
	if again := assess(bank, "c"); again.Signals["signups_1h"] != 3 || again.Accounts.Verified != 1 {
		t.Errorf("after another domain erased the number: %v, %v", again.Signals, again.Accounts)
	}
	if again := assess(shop, "c"); again.Signals["signups_1h"] != 1 {
		t.Errorf("after its own did: %v", again.Signals)
	}
}
