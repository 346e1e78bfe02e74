package server

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/ringfence/ringfence/api"
)

// TestClient makes every call of the client against a server.
func TestClient(t *testing.T) {
	s, _ := newTestServer(t)
	h := httptest.NewServer(s.Handler())
	defer h.Close()
	c := &api.Client{BaseURL: h.URL + "/"}
	ctx := t.Context()
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	req := api.AssessmentRequest{PhoneNumber: "+1 202 555 0143", Event: "signup", AccountID: "u_81"}
	a, err := c.Assess(ctx, req, api.IdempotencyKey("k"))
	if err != nil || a.Signals["signups_1h"] != 1 {
		t.Fatal(a, err)
	}
	if again, err := c.Assess(ctx, req, api.IdempotencyKey("k")); err != nil || again.AssessmentID != a.AssessmentID {
		t.Errorf("the same key: %v, %v", again, err)
	}
	if _, err := c.Assess(ctx, api.AssessmentRequest{}, api.IdempotencyKey("k")); !errors.Is(err, api.ErrInvalid) && !errors.Is(err, api.ErrKeyReused) {
		t.Errorf("the same key, another request: %v", err)
	}
	if o, err := c.Outcome(ctx, api.OutcomeRequest{AssessmentID: a.AssessmentID, Outcome: "verified"}); err != nil || !o.Linked {
		t.Errorf("outcome: %v, %v", o, err)
	}
	if _, err := c.Outcome(ctx, api.OutcomeRequest{AssessmentID: "00000000000000000000000000", Outcome: "verified"}); !errors.Is(err, api.ErrUnknownAssessment) {
		t.Errorf("outcome of nothing: %v", err)
	}
	who := api.PhoneRequest{PhoneToken: a.PhoneToken, AccountID: "u_81"}
	if l, err := c.CheckLink(ctx, who); err != nil || !l.Accounts.Linked {
		t.Errorf("link: %v, %v", l, err)
	}
	if u, err := c.Unlink(ctx, who); err != nil || !u.Unlinked {
		t.Errorf("unlink: %v, %v", u, err)
	}
	number := api.PhoneRequest{PhoneToken: a.PhoneToken}
	if p, err := c.Lookup(ctx, number); err != nil || !p.Known {
		t.Errorf("lookup: %v, %v", p, err)
	}
	if r, err := c.Release(ctx, number); err != nil || r.Generation != 1 {
		t.Errorf("release: %v, %v", r, err)
	}
}

// TestClientWalksLists puts more entries on a list than a page holds.
func TestClientWalksLists(t *testing.T) {
	s, _ := newTestServer(t)
	h := httptest.NewServer(s.Handler())
	defer h.Close()
	c := &api.Client{BaseURL: h.URL}
	for i := range pageSize + 10 {
		area := []int{202, 203, 205, 206, 207, 208}[i/100]
		entry := api.ListEntry{PhoneNumber: fmt.Sprintf("+1%d5550%03d", area, 100+i%100), Reason: "test"}
		if _, err := c.AddEntry(t.Context(), "watch", entry); err != nil {
			t.Fatal(err)
		}
	}
	tokens := map[string]bool{}
	for e, err := range c.Entries(t.Context(), "watch") {
		if err != nil || e.Reason != "test" || tokens[e.PhoneToken] {
			t.Fatal(e.Reason, err)
		}
		tokens[e.PhoneToken] = true
	}
	if len(tokens) != pageSize+10 {
		t.Errorf("%d entries", len(tokens))
	}
	if names, err := c.Lists(t.Context()); err != nil || len(names) != 1 || names[0] != "watch" {
		t.Errorf("lists: %v, %v", names, err)
	}
	for token := range tokens {
		if r, err := c.RemoveEntry(t.Context(), "watch", token); err != nil || !r.Removed {
			t.Errorf("remove: %v, %v", r, err)
		}
		break
	}
	for _, err := range c.Entries(t.Context(), "no list") {
		if err == nil {
			t.Error("entries of what is no list")
		}
	}
}
