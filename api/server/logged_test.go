package server

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/scoring"
)

// TestLoggedAssessments compares what was answered with what the log says later, when another
// policy is in force.
func TestLoggedAssessments(t *testing.T) {
	s, _ := newTestServer(t)
	var answers []api.Assessment
	for i := range 30 {
		var a api.Assessment
		body := fmt.Sprintf(`{"phone_number":"+1202555%04d","event":"signup","account_id":"u%d","ip":"203.0.113.7"}`, 100+i%3, i)
		if i%7 == 0 {
			body = `{"event":"sign_in","account_id":"u"}`
		}
		do(t, s, "POST", "/v1/assessments", body, &a)
		answers = append(answers, a)
	}
	do(t, s, "POST", "/v1/outcomes", `{"assessment_id":"`+answers[1].AssessmentID+`","outcome":"abuse","source":"chargeback"}`, nil)
	other, err := scoring.Compile([]byte("name: other\ndecisions: {block: 1}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cfg.Engine.SetPolicy(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		var l api.LoggedAssessment
		if w := do(t, s, "GET", "/v1/assessments/"+a.AssessmentID, "", &l); w.Code != 200 {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		total, same := 0, len(l.Reasons) == len(a.Reasons)
		for n, step := range l.Reasons {
			total += step.Points
			same = same && asJSON(t, step.Reason) == asJSON(t, a.Reasons[n]) && step.Total == total
		}
		if !same || l.Score != a.Score || l.Decision != a.Decision || l.PhoneToken != a.PhoneToken || l.Policy != a.Policy ||
			asJSON(t, l.Signals) != asJSON(t, a.Signals) || asJSON(t, l.Number) != asJSON(t, a.Number) || !slices.Equal(l.Degraded, a.Degraded) {
			t.Fatalf("%d: answered %+v, logged %+v", i, a, l)
		}
		if want := map[bool]int{true: 1}[i == 1]; len(l.Outcomes) != want {
			t.Errorf("%d: outcomes %v", i, l.Outcomes)
		}
	}
	for _, id := range []string{"00000000000000000000000000", "x", "+12025550143"} {
		if w := do(t, s, "GET", "/v1/assessments/"+id, "", nil); w.Code != 404 {
			t.Errorf("%s: status %d", id, w.Code)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSeveralOutcomes(t *testing.T) {
	s, _ := newTestServer(t)
	var a, b api.Assessment
	do(t, s, "POST", "/v1/assessments", signup, &a)
	do(t, s, "POST", "/v1/assessments", signup, &b)
	item := func(id, outcome string) string {
		return `{"assessment_id":"` + id + `","outcome":"` + outcome + `"}`
	}
	body := "[" + strings.Join([]string{
		item(a.AssessmentID, "verified"), item("00000000000000000000000000", "abuse"), item(b.AssessmentID, "legitimate"), item(b.AssessmentID, "abuse"),
	}, ",") + "]"
	send := func(header ...string) (r []api.OutcomeResult, w *httptest.ResponseRecorder) {
		w = do(t, s, "POST", "/v1/outcomes", body, &r, header...)
		return r, w
	}
	r, w := send("Idempotency-Key", "k")
	if w.Code != 200 || len(r) != 4 || !r[0].Outcome.Linked || r[1].Status != 404 || r[1].Problem.Type != api.ProblemType("unknown-assessment") || !r[3].Outcome.Changed {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if again, _ := send("Idempotency-Key", "k"); asJSON(t, again[0]) != asJSON(t, r[0]) || !again[3].Outcome.Changed {
		t.Errorf("the same key: %+v", again)
	}
	if again, _ := send(); again[0].Outcome.Changed || again[2].Outcome.Changed != true {
		t.Errorf("without a key: %+v", again)
	}
	var p api.Profile
	do(t, s, "POST", "/v1/numbers/lookup", `{"phone_number":"+12025550143"}`, &p)
	if p.Abuse != 1 || p.Legitimate != 0 {
		t.Errorf("labels out of order: %+v", p)
	}
	var refused api.Problem
	w = do(t, s, "POST", "/v1/outcomes", "["+item(a.AssessmentID, "legitimate")+","+`{"outcome":"x","y":1}`+",5,"+item("z", "abuse")+"]", &refused)
	var pointers []string
	for _, e := range refused.Errors {
		pointers = append(pointers, e.Pointer+" "+e.Code)
	}
	if w.Code != 422 || strings.Join(pointers, ", ") != "/1 unknown_field, /1/assessment_id format, /1/outcome unknown_value, /2 wrong_type, /3/assessment_id format" {
		t.Errorf("status %d, %s", w.Code, strings.Join(pointers, ", "))
	}
	w = do(t, s, "POST", "/v1/outcomes", "["+item(a.AssessmentID, "legitimate")+","+item("z", "x")+"]", &refused)
	if w.Code != 422 || refused.Errors[0].Pointer != "/1/assessment_id" || refused.Errors[1].Pointer != "/1/outcome" {
		t.Errorf("status %d, %+v", w.Code, refused.Errors)
	}
	do(t, s, "POST", "/v1/numbers/lookup", `{"phone_number":"+12025550143"}`, &p)
	if p.Legitimate != 0 {
		t.Error("a request that was refused recorded an outcome")
	}
	for body, status := range map[string]int{
		"[]": 200, "[": 400, "[{}": 400, "[] x": 400, "[" + strings.TrimSuffix(strings.Repeat(item(a.AssessmentID, "abuse")+",", maxOutcomes), ",") + "]": 200,
		"[" + strings.Repeat("0,", maxOutcomes) + "0]": 422,
	} {
		if w := do(t, s, "POST", "/v1/outcomes", body, nil); w.Code != status {
			t.Errorf("%.20s: status %d, want %d: %.200s", body, w.Code, status, w.Body)
		}
	}
}

func TestEntriesComeAsAStream(t *testing.T) {
	s, _ := newTestServer(t)
	var in strings.Builder
	for i := range 700 {
		fmt.Fprintf(&in, `{"phone_number":"+1%d5550%03d","reason":"feed","added_at":"2026-01-02T03:04:05Z"}`+"\n", []int{202, 203, 205, 206, 207, 208, 209}[i/100], 100+i%100)
	}
	in.WriteString("\n{\"phone_number\":\"12\"}\n{\"x\":1}\nnot json\n" + strings.Repeat("x", 70<<10) + "\n{\"phone_number\":\"+12025550143\",\"reason\":\"?\"}")
	var answer api.ImportAnswer
	w := do(t, s, "POST", "/v1/lists/watch/entries", in.String(), &answer, "Content-Type", ndjson)
	var got []string
	for _, l := range answer.Lines {
		got = append(got, fmt.Sprint(l.Line, l.Pointer, " ", l.Code))
	}
	want := "702/phone_number no_region, 703 unknown_field, 704 bad-json, 705 too-large, 706/reason format"
	if w.Code != 200 || answer.Read != 705 || answer.Added != 700 || answer.Refused != 5 || strings.Join(got, ", ") != want {
		t.Errorf("status %d, %d read, %d added, %d refused: %s", w.Code, answer.Read, answer.Added, answer.Refused, strings.Join(got, ", "))
	}
	var page api.ListPage
	do(t, s, "GET", "/v1/lists/watch/entries", "", &page)
	if len(page.Entries) != pageSize || page.Entries[0].AddedAt != "2026-01-02T03:04:05Z" {
		t.Errorf("%d entries", len(page.Entries))
	}
	if w := do(t, s, "POST", "/v1/lists/No/entries", "{}", nil, "Content-Type", ndjson); w.Code != 404 {
		t.Errorf("a name that none can have: status %d", w.Code)
	}
}

// TestNoOtherOriginIsLetIn holds that no browser is told that another site's pages may call.
func TestNoOtherOriginIsLetIn(t *testing.T) {
	s, _ := newTestServer(t)
	for _, method := range []string{"OPTIONS", "POST"} {
		w := do(t, s, method, "/v1/assessments", signup, nil, "Origin", "https://example.com", "Access-Control-Request-Method", "POST")
		for name := range w.Header() {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s", method, name)
			}
		}
	}
}
