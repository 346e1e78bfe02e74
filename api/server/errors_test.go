package server

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/ringfence/ringfence/api"
)

// TestProblemsHaveNames looks for every problem in the source: clients can compare each
// with an error of package api.
func TestProblemsHaveNames(t *testing.T) {
	named := []error{
		api.ErrInvalid, api.ErrUnknownAssessment, api.ErrIdempotencyKey, api.ErrKeyReused, api.ErrInFlight, api.ErrTooManyLists, api.ErrBadJSON,
		api.ErrTooLarge, api.ErrTooManyLines, api.ErrTimeout, api.ErrMediaType, api.ErrNoRoute, api.ErrMethod, api.ErrStore, api.ErrStoreFull, api.ErrOverloaded, api.ErrDraining, api.ErrInternal,
		api.ErrNoKey, api.ErrWrongKey, api.ErrCrossSite, api.ErrScope, api.ErrDomain, api.ErrRate, api.ErrSubjects, api.ErrAudit,
		api.ErrUnknownPolicy, api.ErrPolicyReplaced, api.ErrIfMatch, api.ErrShadowLive, api.ErrTooManyShadows, api.ErrFewLabels, api.ErrUnknownBacktest,
		api.ErrOtherBacktest, api.ErrTooManyBacktests, api.ErrTooManySubjects, api.ErrReportBusy, api.ErrReportTooLong,
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`&refusal\{.*code: "([a-z-]+)"`).FindAllSubmatch(text, -1) {
			seen[string(m[1])] = true
		}
	}
	for code := range seen {
		found := false
		for _, e := range named {
			found = found || errors.Is(&api.Error{Problem: api.Problem{Type: api.ProblemType(code)}}, e)
		}
		if !found {
			t.Errorf("no error of package api is %s", code)
		}
	}
	if len(seen) != len(named) {
		t.Errorf("%d problems, %d errors", len(seen), len(named))
	}
}

// TestClientStreams sends more lines than a window holds, and reads each of them in the log.
func TestClientStreams(t *testing.T) {
	s, _ := newTestServer(t)
	h := httptest.NewServer(s.Handler())
	defer h.Close()
	c := &api.Client{BaseURL: h.URL}
	const n = 3000
	lines := func(yield func(api.BatchLine, error) bool) {
		for i := range n {
			l := api.BatchLine{AssessmentRequest: api.AssessmentRequest{Event: "sign_in", PhoneNumber: fmt.Sprintf("+1 202 555 01%02d", i%100), AccountID: "u"}}
			if i%1000 == 999 {
				l.Event = "?"
			}
			if !yield(l, nil) {
				return
			}
		}
	}
	got, refused := 0, 0
	var last string
	for a, err := range c.AssessBatch(t.Context(), lines) {
		if err != nil {
			t.Fatal(err)
		}
		if got++; a.Line != got {
			t.Fatalf("answer %d is to line %d", got, a.Line)
		}
		if errors.Is(a.Err(), api.ErrInvalid) {
			refused++
		} else {
			last = a.Assessment.AssessmentID
		}
	}
	if got != n || refused != 3 {
		t.Errorf("%d answers, %d refused", got, refused)
	}
	if l, err := c.Assessment(t.Context(), last); err != nil || l.Event != "sign_in" {
		t.Errorf("the last of them: %v, %v", l, err)
	}
	if _, err := c.Assessment(t.Context(), "x"); !errors.Is(err, api.ErrUnknownAssessment) {
		t.Errorf("what is no id: %v", err)
	}
	results, err := c.Outcomes(t.Context(), []api.OutcomeRequest{{AssessmentID: last, Outcome: "abuse"}})
	if err != nil || len(results) != 1 || results[0].Err() != nil || !results[0].Outcome.Changed {
		t.Errorf("outcomes: %v, %v", results, err)
	}
	if results, err := c.Outcomes(t.Context(), nil); err != nil || len(results) != 0 {
		t.Errorf("no outcomes: %v, %v", results, err)
	}
	lists := func(yield func(api.ListEntry, error) bool) { yield(api.ListEntry{PhoneNumber: "+12025550143"}, nil) }
	if a, err := c.ImportEntries(t.Context(), "watch", lists); err != nil || a.Added != 1 {
		t.Errorf("import: %v, %v", a, err)
	}
}
