package server

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// rotatable is a server with the keyring that it works with.
type rotatable struct {
	*Server
	t     *testing.T
	ring  *hashing.Keyring
	store *pebblestore.Store
}

func newRotatable(t *testing.T) *rotatable {
	t.Helper()
	r := &rotatable{t: t}
	var err error
	if r.ring, err = hashing.NewKeyring(rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	if r.store, err = pebblestore.OpenMemory(pebblestore.Options{Keys: r.ring.KeyChecks()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.store.Close() })
	space := r.space()
	e, err := engine.New(t.Context(), engine.Config{Store: r.store, Domain: space.Hasher.Domain(), Policy: scoring.Default(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	r.Server, err = New(Config{
		Engine: e, Hasher: space.Hasher, SubjectKeys: space.Keys, Log: slog.New(slog.NewJSONHandler(io.Discard, nil)),
		KeyUse: func() (map[hashing.KeyID]uint64, time.Time) {
			use, err := r.store.KeyUse(t.Context())
			if err != nil {
				t.Error(err)
			}
			return use, time.Now()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rotatable) space() Space {
	r.t.Helper()
	hasher, err := r.ring.Domain(hashing.DefaultDomain)
	if err != nil {
		r.t.Fatal(err)
	}
	return Space{Hasher: hasher, Keys: r.ring.Domains()[0].Keys}
}

// rotate gives the server a new key.
func (r *rotatable) rotate() {
	r.t.Helper()
	var err error
	if r.ring, err = r.ring.Rotate(rand.Reader, time.Now()); err != nil {
		r.t.Fatal(err)
	}
	if err := r.store.Rekey(r.t.Context(), r.ring.KeyChecks()); err != nil {
		r.t.Fatal(err)
	}
	if err := r.Rekey(map[string]Space{hashing.DefaultDomain: r.space()}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rotatable) do(method, path, body string, out any, header ...string) {
	r.t.Helper()
	if w := do(r.t, r.Server, method, path, body, out, header...); w.Code != http.StatusOK {
		r.t.Errorf("%s %s: status %d, %s", method, path, w.Code, w.Body)
	}
}

const (
	rotated    = `{"phone_number":"+1 202 555 0143"}`
	rotatedAs  = `{"phone_number":"+1 202 555 0143","account_id":"%s"}`
	proved     = `{"phone_number":"+1 202 555 0143","event":"signup","account_id":"%s","ip":"203.0.113.7","device_id":"d","verified":true}`
	byToken    = `{"phone_token":"%s"}`
	onceBefore = "asked-before-the-rotation"
)

// TestABacktestOutlivesARotation asks for what was begun under the key of before.
func TestABacktestOutlivesARotation(t *testing.T) {
	r := newRotatable(t)
	var begun, same api.Backtest
	start := func(b *api.Backtest) {
		t.Helper()
		if w := do(t, r.Server, "POST", "/v1/backtests", `{}`, b, "Idempotency-Key", "k"); w.Code != http.StatusAccepted {
			t.Fatalf("status %d, %s", w.Code, w.Body)
		}
	}
	start(&begun)
	r.rotate()
	r.do("GET", "/v1/backtests/"+begun.ID, "", nil)
	if start(&same); same.ID != begun.ID {
		t.Error("the same request begins another one")
	}
	r.do("DELETE", "/v1/backtests/"+begun.ID, "", nil)
}

// TestRotationOverHTTP takes a number through two rotations: whatever was known stays known, by all that stands for it.
func TestRotationOverHTTP(t *testing.T) {
	r := newRotatable(t)
	var first, again api.Assessment
	r.do("POST", "/v1/assessments", fmt.Sprintf(proved, "a"), &first, "Idempotency-Key", onceBefore)
	r.do("POST", "/v1/lists/vip/entries", rotated, nil)
	r.do("POST", "/v1/lists/blocks/entries", `{"phone_number":"+1 202 555 0143","entry":"range"}`, nil)
	for n := 2; n <= 3; n++ {
		r.rotate()
		w := do(t, r.Server, "POST", "/v1/assessments", fmt.Sprintf(proved, "a"), &again, "Idempotency-Key", onceBefore)
		if w.Header().Get("Idempotency-Replayed") != "true" || again.AssessmentID != first.AssessmentID {
			t.Errorf("rotation %d: a request of before is counted again", n)
		}
		var link api.LinkAnswer
		r.do("POST", "/v1/links/check", fmt.Sprintf(rotatedAs, "a"), &link)
		if !link.Accounts.Linked || link.Accounts.Verified != 1 {
			t.Errorf("rotation %d: the account is not linked any more: %+v", n, link.Accounts)
		}
		r.knows(n, first.PhoneToken)
		var logged api.LoggedAssessment
		r.do("GET", "/v1/assessments/"+first.AssessmentID, "", &logged)
		if !strings.HasPrefix(logged.PhoneToken, fmt.Sprintf("k%d.", n)) {
			t.Errorf("rotation %d: the event names %.3s", n, logged.PhoneToken)
		}
	}
	for _, account := range []string{"b", "c", "d"} {
		r.do("POST", "/v1/assessments", fmt.Sprintf(proved, account), &again)
	}
	if again.Accounts.Verified != 3 || again.Accounts.Linked {
		t.Errorf("the limit of 3 accounts does not hold: %+v", again.Accounts)
	}
	var removed api.RemoveAnswer
	r.do("DELETE", "/v1/lists/vip/entries?token="+first.PhoneToken, "", &removed)
	if !removed.Removed {
		t.Error("the entry cannot be taken off by the oldest token")
	}
	r.moved()
	r.do("POST", "/v1/numbers/erase", rotated, nil)
	for _, body := range []string{rotated, fmt.Sprintf(byToken, first.PhoneToken)} {
		var p api.Profile
		if r.do("POST", "/v1/numbers/lookup", body, &p); p.Known || len(p.Timeline) > 0 {
			t.Error("known after it was erased")
		}
	}
}

// knows looks the number up by itself and by a token of the first key.
func (r *rotatable) knows(n int, token string) {
	r.t.Helper()
	for _, body := range []string{rotated, fmt.Sprintf(byToken, token)} {
		var p api.Profile
		r.do("POST", "/v1/numbers/lookup", body, &p)
		if !p.Known || p.Accounts.Verified != 1 || len(p.Timeline) != 1 || len(p.Lists) == 0 {
			r.t.Errorf("rotation %d: known %v, %d accounts, %d events, lists %v", n, p.Known, p.Accounts.Verified, len(p.Timeline), p.Lists)
		}
	}
	var page api.ListPage
	r.do("GET", "/v1/lists/blocks/entries", "", &page)
	if len(page.Entries) != 1 || !strings.HasPrefix(page.Entries[0].PhoneToken, fmt.Sprintf("r%d.", n)) {
		r.t.Errorf("rotation %d: entries %v", n, page.Entries)
	}
}

// moved holds that nothing is left under older keys once everybody was seen again.
func (r *rotatable) moved() {
	r.t.Helper()
	var p api.Privacy
	r.do("GET", "/v1/privacy", "", &p)
	if len(p.Keys) != 3 || p.Domain != hashing.DefaultDomain || p.CountedAt == "" {
		r.t.Fatalf("%+v", p)
	}
	for i, want := range []string{"readable", "readable", "primary"} {
		if k := p.Keys[i]; k.State != want || k.ID != i+1 || k.Subjects == nil || (*k.Subjects == 0) != (i < 2) {
			r.t.Errorf("key %d: %+v, %d subjects", i, k, *k.Subjects)
		}
	}
}

// TestRekeyUnderLoad rotates while many ask for one number: every event counts once, and no more accounts are linked than may be.
func TestRekeyUnderLoad(t *testing.T) {
	r := newRotatable(t)
	const askers, each, linked = 8, 30, 3
	for n := range linked { // while few know the number: the policy links nobody to one that a crowd signs up with
		r.do("POST", "/v1/assessments", fmt.Sprintf(proved, fmt.Sprint("account-", n)), nil)
	}
	var wg sync.WaitGroup
	for n := range askers {
		wg.Go(func() {
			for i := range each {
				key := fmt.Sprintf("%d-%d", n, i)
				for range 2 { // as if the first answer had been lost
					r.do("POST", "/v1/assessments", fmt.Sprintf(proved, fmt.Sprint("account-", n)), nil, "Idempotency-Key", key)
				}
			}
		})
	}
	for range 4 {
		r.rotate()
	}
	wg.Wait()
	var p api.Profile
	r.do("POST", "/v1/numbers/lookup", rotated, &p)
	if p.Accounts.Verified != linked {
		t.Errorf("%d accounts are linked, want %d", p.Accounts.Verified, linked)
	}
	for _, v := range p.Velocity {
		if v.Event == "signup" && v.Total != linked+askers*each {
			t.Errorf("%d signups are counted, want %d", v.Total, linked+askers*each)
		}
	}
	if v, err := r.store.Verify(t.Context()); err != nil || v.Damages > 0 {
		t.Errorf("%v, %+v", err, v)
	}
}

// TestAStaleToken erases a number, rotates and has it come by the token from before, from which nothing leads to it: alone, on a line of a batch, and where
// its link or all that is known of it should go. Nor is it let in by its token of the newest key before it has moved there.
func TestAStaleToken(t *testing.T) {
	r := newRotatable(t)
	var a api.Assessment
	r.do("POST", "/v1/assessments", fmt.Sprintf(proved, "before"), &a)
	r.do("POST", "/v1/numbers/erase", rotated, nil)
	token := fmt.Sprintf(`"phone_token":%q`, a.PhoneToken)
	r.do("POST", "/v1/assessments", "{"+token+`,"event":"signup"}`, nil) // under the same key it can begin anew
	r.do("POST", "/v1/numbers/erase", rotated, nil)
	r.rotate()
	r.do("POST", "/v1/assessments", fmt.Sprintf(proved, "after"), nil)
	for path, body := range map[string]string{
		"/v1/assessments":     token + `,"event":"signup","account_id":"a","verified":true`,
		"/v1/links/unlink":    token + `,"account_id":"after"`,
		"/v1/numbers/release": token,
	} {
		var p api.Problem
		w := do(t, r.Server, "POST", path, "{"+body+"}", &p)
		if w.Code != http.StatusUnprocessableEntity || len(p.Errors) != 1 || p.Errors[0].Pointer != "/phone_token" || p.Errors[0].Code != "stale" {
			t.Errorf("%s: status %d, %s", path, w.Code, w.Body)
		}
	}
	w := do(t, r.Server, "POST", "/v1/assessments/batch", "{"+token+`,"event":"signup"}`+"\n", nil, "Content-Type", "application/x-ndjson")
	if !strings.Contains(w.Body.String(), `"code":"stale"`) {
		t.Errorf("a line: %s", w.Body)
	}
	r.rotate()
	number, err := hashing.Parse("+1 202 555 0143", "")
	if err != nil {
		t.Fatal(err)
	}
	early := fmt.Sprintf(`{"phone_token":%q,"event":"signup"}`, r.space().Hasher.Phone(number).Token()) // what is known has not moved there
	if w := do(t, r.Server, "POST", "/v1/assessments", early, nil); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a token of the newest key, to which nothing has moved: status %d", w.Code)
	}
	r.do("POST", "/v1/assessments", fmt.Sprintf(proved, "after"), nil)
	r.do("POST", "/v1/assessments", early, nil)
	var p api.Profile
	r.do("POST", "/v1/numbers/lookup", "{"+token+"}", &p)
	if p.Known {
		t.Error("the token is known")
	}
	if r.do("POST", "/v1/numbers/lookup", rotated, &p); p.Accounts.Verified != 1 {
		t.Errorf("%d accounts are linked to the number, want the one of after", p.Accounts.Verified)
	}
}

func TestRekeyNeedsEveryDomain(t *testing.T) {
	r := newRotatable(t)
	if err := r.Rekey(nil); err == nil {
		t.Error("a domain that is served went without a key")
	}
	other, err := hashing.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if other, err = other.WithDomain("shop"); err != nil {
		t.Fatal(err)
	}
	shop, err := other.Domain("shop")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Rekey(map[string]Space{hashing.DefaultDomain: {Hasher: shop}}); err == nil {
		t.Error("the hasher of another domain was taken")
	}
}
