package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/scoring"
	"github.com/ringfence/ringfence/scoring/backtest"
)

// strict blocks from so many signups of a number in an hour on.
func strict(n int) string {
	return fmt.Sprintf("name: strict_%d\nsignals: {n: {subject: phone, count: signup, window: 3h}}\nscore: [{code: N, signal: n, points: {1: 5, %d: 50}}]\ndecisions: {block: 50}", n, n)
}

func addPolicy(t *testing.T, s *Server, source string) (v api.PolicyVersion) {
	t.Helper()
	body, err := json.Marshal(api.PolicyRequest{Source: source, Note: "a test"})
	if err != nil {
		t.Fatal(err)
	}
	if w := do(t, s, "POST", "/v1/policies", string(body), &v); w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return v
}

// finished waits for a backtest that was asked for by a body, without asking in between.
func finished(t *testing.T, s *Server, body string, header ...string) (b api.Backtest, r backtest.Result) {
	t.Helper()
	w := do(t, s, "POST", "/v1/backtests", body, &b, header...)
	if w.Code != http.StatusAccepted || w.Header().Get("Location") != "/v1/backtests/"+b.ID {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	s.jobs.wg.Wait()
	do(t, s, "GET", w.Header().Get("Location"), "", &b)
	if b.State == "done" {
		if err := json.Unmarshal(b.Result, &r); err != nil {
			t.Fatal(err)
		}
	}
	return b, r
}

// calibrating20 makes up labels enough of both kinds, and returns the id of a backtest of the live policy.
func calibrating20(t *testing.T, s *Server) string {
	t.Helper()
	for i := range 20 {
		for _, c := range []struct{ event, outcome, phone string }{{"signup", "abuse", "+12025550143"}, {"sign_in", "legitimate", fmt.Sprintf("+120255501%02d", i)}} {
			var a api.Assessment
			do(t, s, "POST", "/v1/assessments", fmt.Sprintf(`{"event":%q,"phone_number":%q,"account_id":"a%d"}`, c.event, c.phone, i), &a)
			do(t, s, "POST", "/v1/outcomes", fmt.Sprintf(`{"assessment_id":%q,"outcome":%q}`, a.AssessmentID, c.outcome), nil)
		}
	}
	b, _ := finished(t, s, `{"version":1}`)
	return b.ID
}

// TestPoliciesOverHTTP goes from a draft over a shadow to a rollback.
func TestPoliciesOverHTTP(t *testing.T) {
	s, _ := newTestServer(t)
	two := addPolicy(t, s, strict(2))
	if two.Version != 2 || two.State != "stored" || two.Author != "local" || two.Name != "strict_2" {
		t.Fatalf("added: %+v", two)
	}
	var now api.RolloutAnswer
	do(t, s, "POST", "/v1/policies/2/shadow", `{"note":"try"}`, &now)
	if now.Live != 1 || fmt.Sprint(now.Shadows) != "[2]" {
		t.Errorf("in shadow: %+v", now)
	}
	var a api.Assessment
	do(t, s, "POST", "/v1/assessments", signup, nil)
	do(t, s, "POST", "/v1/assessments", signup, &a)
	if len(a.Shadow) != 1 || a.Shadow[0] != (api.ShadowDecision{Version: 2, Score: 50, Decision: "block"}) || a.Decision != "allow" || a.Probability != nil {
		t.Errorf("an answer beside a shadow: %+v", a)
	}
	metrics := do2(s, "/metrics")
	if !strings.Contains(metrics, `ringfence_shadow_decisions_total{decision="allow",domain="default",shadow="block",version="2"} 1`) {
		t.Error("the metrics do not tell of the shadow")
	}
	var shadows []backtest.Shadow
	var report api.ShadowReport
	do(t, s, "GET", "/v1/reports/shadow", "", &report)
	if err := json.Unmarshal(report.Shadows, &shadows); err != nil || len(shadows) != 1 || shadows[0].Events != 2 || shadows[0].Numbers != 1 || shadows[0].Stricter.Events != 1 {
		t.Errorf("the report: %s, %v", report.Shadows, err)
	}
	for _, c := range []struct {
		path, body, match string
		status            int
		code              string
	}{
		{"/v1/policies/2/publish", `{"note":"go"}`, "", 428, "if-match"},
		{"/v1/policies/2/publish", `{"note":"go"}`, `1`, 428, "if-match"},
		{"/v1/policies/2/publish", `{"note":"go"}`, `*`, 428, "if-match"},
		{"/v1/policies/2/publish", `{"note":"go"}`, `"2"`, 412, "policy-replaced"},
		{"/v1/policies/2/publish", `{}`, `"1"`, 422, "invalid"},
		{"/v1/policies/2/publish", `{"note":"+1 202 555 0143"}`, `"1"`, 422, "invalid"},
		{"/v1/policies/9/publish", `{"note":"go"}`, `"1"`, 404, "unknown-policy"},
		{"/v1/policies/x/publish", `{"note":"go"}`, `"1"`, 404, "unknown-policy"},
		{"/v1/policies/1/rollback", `{"note":"go"}`, `"7"`, 412, "policy-replaced"},
		{"/v1/policies/1/shadow", `{"note":"go"}`, "", 409, "shadow-live"},
		{"/v1/policies/1/calibration", `{"backtest":"x"}`, "", 404, "unknown-backtest"},
	} {
		var p api.Problem
		header := []string{}
		if c.match != "" {
			header = []string{"If-Match", c.match}
		}
		if w := do(t, s, "POST", c.path, c.body, &p, header...); w.Code != c.status || p.Type != api.ProblemType(c.code) {
			t.Errorf("%s %s with %s: %d %s", c.path, c.body, c.match, w.Code, w.Body)
		}
	}
	first := do(t, s, "POST", "/v1/policies/2/publish", `{"note":"it was right"}`, &now, "If-Match", `"1"`, "Idempotency-Key", "p1")
	if first.Code != 200 || now.Live != 2 || len(now.Shadows) != 0 {
		t.Errorf("published: %d %+v", first.Code, now)
	}
	again := do(t, s, "POST", "/v1/policies/2/publish", `{"note":"it was right"}`, nil, "If-Match", `"1"`, "Idempotency-Key", "p1")
	if again.Code != 200 || again.Body.String() != first.Body.String() || again.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("published again: %d %s, first %s", again.Code, again.Body, first.Body)
	}
	if do(t, s, "POST", "/v1/assessments", signup, &a); a.Decision != "block" || a.Policy.Version != 2 {
		t.Errorf("the next event: %+v", a)
	}
	back := do(t, s, "POST", "/v1/policies/1/rollback", `{"note":"too strict"}`, &now, "If-Match", `"2"`, "Idempotency-Key", "p2")
	replayed := do(t, s, "POST", "/v1/policies/1/rollback", `{"note":"too strict"}`, nil, "If-Match", `"2"`, "Idempotency-Key", "p2")
	if now.Version != 3 || now.Live != 3 || replayed.Body.String() != back.Body.String() {
		t.Errorf("rolled back: %+v, again %s", now, replayed.Body)
	}
	var page api.PolicyPage
	w := do(t, s, "GET", "/v1/policies", "", &page)
	if w.Header().Get("ETag") != `"3"` || page.Live != 3 || len(page.Versions) != 3 || page.Versions[0].EqualTo != 1 || page.Versions[0].State != "live" || len(page.History) != 4 ||
		page.History[0].Change != "rolled_back" || page.History[0].Note != "too strict" || page.Cursor != "" {
		t.Errorf("%s: %+v", w.Header().Get("ETag"), page)
	}
	var one api.PolicyVersion
	do(t, s, "GET", "/v1/policies/2", "", &one)
	if one.Source != strict(2) || len(one.Changes) == 0 || one.State != "stored" {
		t.Errorf("version 2: %+v", one)
	}
}

func do2(s *Server, path string) string {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil)) //nolint:noctx // in memory
	return w.Body.String()
}

// TestBrokenPolicies holds that every problem is told with its place, and that nothing is kept.
func TestBrokenPolicies(t *testing.T) {
	s, _ := newTestServer(t)
	source := "name: x\nsignals: {n: {subject: phone, count: signup, window: 1h}}\nscore:\n  - {code: A, when: nobody > 3, points: 5}\n  - {code: B, signal: m, points: {1: 5}}\ndecisions: {block: 5000}\n"
	body, err := json.Marshal(api.PolicyRequest{Source: source, Note: "x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/policies", "/v1/policies/validate"} {
		var p api.Problem
		if w := do(t, s, "POST", path, string(body), &p); w.Code != 422 || len(p.Errors) != 3 || p.Errors[0].Line != 4 || p.Errors[0].Column == 0 || p.Errors[0].Cause == "" ||
			p.Errors[1].Line != 5 || p.Errors[2].Line != 6 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	var page api.PolicyPage
	if do(t, s, "GET", "/v1/policies", "", &page); len(page.Versions) != 1 {
		t.Errorf("%d versions", len(page.Versions))
	}
	var check api.PolicyCheck
	body, _ = json.Marshal(api.PolicyRequest{Source: string(scoring.Default().Source())})
	if w := do(t, s, "POST", "/v1/policies/validate", string(body), &check); w.Code != 200 || check.Name != "default" || len(check.Changes) != 0 || len(check.Signals) < 10 {
		t.Errorf("the default: %d %+v", w.Code, check)
	}
	large, _ := json.Marshal(api.PolicyRequest{Source: strings.Repeat("#", 300<<10), Note: "x"})
	if w := do(t, s, "POST", "/v1/policies", string(large), nil); w.Code != 422 {
		t.Errorf("300 KiB: %d", w.Code)
	}
	if w := do(t, s, "POST", "/v1/policies", `{"source":"`+strings.Repeat("#", 1<<20)+`"}`, nil); w.Code != 413 {
		t.Errorf("more than 1 MiB: %d", w.Code)
	}
}

// TestPagesOfPolicies holds that pages are whole and without repetition.
func TestPagesOfPolicies(t *testing.T) {
	s, _ := newTestServer(t)
	for i := range 60 {
		addPolicy(t, s, strict(i+2))
	}
	seen, cursor := 0, ""
	for page := (api.PolicyPage{Cursor: "-"}); page.Cursor != ""; cursor = page.Cursor {
		page = api.PolicyPage{}
		do(t, s, "GET", "/v1/policies?cursor="+cursor, "", &page)
		for _, v := range page.Versions {
			if want := uint32(61 - seen); v.Version != want {
				t.Fatalf("version %d, want %d", v.Version, want)
			}
			seen++
		}
	}
	if seen != 61 {
		t.Errorf("%d versions", seen)
	}
}

// TestBacktestsOverHTTP holds that a job tells what it was about, that a repeated request is the same job, and that
// probabilities come from a backtest of that version only.
func TestBacktestsOverHTTP(t *testing.T) {
	s, _ := newTestServer(t)
	id := calibrating20(t, s)
	var b api.Backtest
	do(t, s, "GET", "/v1/backtests/"+id, "", &b)
	var r backtest.Result
	if err := json.Unmarshal(b.Result, &r); err != nil || b.State != "done" || b.Version != 1 || b.Events != 40 || r.Events != 40 || r.Abuse != 20 || r.Legitimate != 20 ||
		r.Stale || r.PolicyDigest != b.PolicyDigest || r.Stricter.Events+r.Milder.Events != 0 || !r.Curve[0].Precision.Known() || r.Curve[0].Precision.Share != 0.5 {
		t.Errorf("%+v: %+v, %v", b, r, err)
	}
	replay, counted := finished(t, s, `{"mode":"replay"}`)
	if replay.State != "done" || counted.Stricter.Events+counted.Milder.Events != 0 || counted.Events != 40 {
		t.Errorf("replayed: %+v, %+v", replay, counted.Moves)
	}
	if _, priced := finished(t, s, `{"cost_fp":20,"cost_fn":1.5}`); priced.Digest == "" || priced.Costs == nil || priced.Costs.Cheapest == nil ||
		*priced.Curve[50].Loss != 20*priced.Curve[50].FP+1.5*priced.Curve[50].FN || r.Costs != nil || r.Curve[50].Loss != nil {
		t.Errorf("with costs: %+v; without: %+v", priced.Costs, r.Costs)
	}
	body, _ := json.Marshal(api.BacktestRequest{Source: strict(2), Examples: 3})
	other, unread := finished(t, s, string(body), "Idempotency-Key", "j1")
	if other.Version != 0 || unread.States["not_replayable"] != 40 {
		t.Errorf("a signal that was not recorded: %+v, %v", other, unread.States)
	}
	if same, _ := finished(t, s, string(body), "Idempotency-Key", "j1"); same.ID != other.ID {
		t.Error("a repeated request is another backtest")
	}
	var p api.Problem
	if do(t, s, "POST", "/v1/policies/1/calibration", `{"backtest":"`+other.ID+`"}`, &p); p.Type != api.ProblemType("other-backtest") {
		t.Errorf("probabilities of another policy: %+v", p)
	}
	var c api.Calibration
	if w := do(t, s, "POST", "/v1/policies/1/calibration", `{"backtest":"`+id+`"}`, &c); w.Code != 200 || c.Digest != r.Digest || len(c.Bands) < 2 {
		t.Errorf("calibrated: %d %+v", w.Code, c)
	}
	var a api.Assessment
	if do(t, s, "POST", "/v1/assessments", signup, &a); a.Probability == nil || *a.Probability != 1 || a.CalibrationLabels == 0 {
		t.Errorf("an answer: %+v", a)
	}
	var report api.PolicyReport
	do(t, s, "GET", "/v1/reports/calibration", "", &report)
	if report.Stored == nil || report.Abuse != 20 || report.Version != 1 || report.Events != 41 || len(report.Calibration) == 0 || report.Reasons != nil {
		t.Errorf("the report on probabilities: %+v", report)
	}
	do(t, s, "GET", "/v1/reports/reasons?version=1&maturity_seconds=3600", "", &report)
	if report.Abuse != 0 || report.States["immature"] != 40 || !strings.Contains(string(report.Reasons), "SIGNUPS_BY_PHONE_1H") {
		t.Errorf("the report on reasons: %+v", report)
	}
	for path, status := range map[string]int{
		"/v1/reports/reasons?version=9": 404, "/v1/reports/reasons?version=x": 422, "/v1/reports/shadow?from=soon": 422,
		"/v1/reports/shadow?from=2027-01-02T00:00:00Z&to=2027-01-01T00:00:00Z": 422, "/v1/reports/shadow?maturity_seconds=-1": 422, "/v1/backtests/x": 404,
	} {
		if w := do(t, s, "GET", path, "", nil); w.Code != status {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := do(t, s, "POST", "/v1/backtests", `{"version":1,"source":"x","mode":"y","from":"z","maturity_seconds":-1,"examples":1000,"cost_fn":1}`, &p); w.Code != 422 || len(p.Errors) != 7 {
		t.Errorf("all wrong: %d %+v", w.Code, p)
	}
	for costs, pointer := range map[string]string{
		`{"cost_fp":1}`: "/cost_fn", `{"cost_fn":1}`: "/cost_fp", `{"cost_fp":-1,"cost_fn":-1}`: "/cost_fp", `{"cost_fp":1,"cost_fn":1e13}`: "/cost_fn",
	} {
		if w := do(t, s, "POST", "/v1/backtests", costs, &p); w.Code != 422 || len(p.Errors) != 1 || p.Errors[0].Pointer != pointer {
			t.Errorf("%s: %d %+v", costs, w.Code, p)
		}
	}
}

// TestStaleBacktests holds that a backtest tells of a version that went live since it was asked for, while it waited or while it ran.
func TestStaleBacktests(t *testing.T) {
	for name, want := range map[string]bool{"nobody publishes": false, "published while it waits": true, "published while it runs": true} {
		t.Run(name, func(t *testing.T) {
			s, _ := newTestServer(t)
			calibrating20(t, s)
			addPolicy(t, s, strict(2))
			publish := func() {
				if w := do(t, s, "POST", "/v1/policies/2/publish", `{"note":"go"}`, nil, "If-Match", `"1"`); w.Code != 200 {
					t.Errorf("status %d: %s", w.Code, w.Body)
				}
			}
			s.jobs.slot <- struct{}{} // no turn for anybody
			var b api.Backtest
			do(t, s, "POST", "/v1/backtests", `{}`, &b)
			switch name {
			case "published while it waits":
				publish()
			case "published while it runs":
				whenRead(t, s, b.ID, publish)
			}
			<-s.jobs.slot
			s.jobs.wg.Wait()
			do(t, s, "GET", "/v1/backtests/"+b.ID, "", &b)
			var r backtest.Result
			if err := json.Unmarshal(b.Result, &r); err != nil || b.State != "done" || b.Live != 1 || b.Version != 1 || r.Events != 40 || r.Stale != want {
				t.Errorf("%s, of version %d where %d was live: stale is %v, %v", b.State, b.Version, b.Live, r.Stale, err)
			}
		})
	}
}

// whenRead does something once a backtest that waits begins to read the log.
func whenRead(t *testing.T, s *Server, id string, do func()) {
	t.Helper()
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	b, err := s.jobs.find(s.space(t.Context()), id)
	if err != nil {
		t.Fatal(err)
	}
	log := b.cfg.Log
	b.cfg.Log = func(ctx context.Context, fn func(*record.Entry) error) error {
		do()
		return log(ctx, fn)
	}
}

// TestBacktestsAreBounded holds that only so many wait, that one can be stopped, and that the oldest are forgotten.
func TestBacktestsAreBounded(t *testing.T) {
	s, _ := newTestServer(t)
	calibrating20(t, s)
	s.jobs.slot <- struct{}{} // no turn for anybody
	var ids []string
	for range maxWaiting {
		var b api.Backtest
		if w := do(t, s, "POST", "/v1/backtests", `{}`, &b); w.Code != 202 || b.State != "queued" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		ids = append(ids, b.ID)
	}
	if w := do(t, s, "POST", "/v1/backtests", `{}`, nil); w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("one too many: %d", w.Code)
	}
	do(t, s, "DELETE", "/v1/backtests/"+ids[1], "", nil)
	<-s.jobs.slot
	s.jobs.wg.Wait()
	for i, id := range ids {
		var b api.Backtest
		do(t, s, "GET", "/v1/backtests/"+id, "", &b)
		if want := map[bool]string{true: "cancelled", false: "done"}[i == 1]; b.State != want {
			t.Errorf("backtest %d is %s", i, b.State)
		}
	}
	for range maxKept {
		finished(t, s, `{}`)
	}
	if w := do(t, s, "GET", "/v1/backtests/"+ids[0], "", nil); w.Code != 404 {
		t.Errorf("the oldest: %d", w.Code)
	}
	s.reports <- struct{}{}
	if w := do(t, s, "GET", "/v1/reports/reasons", "", nil); w.Code != 429 {
		t.Errorf("a second report: %d", w.Code)
	}
	<-s.reports
	s.jobs.stop()
	if w := do(t, s, "POST", "/v1/backtests", `{}`, nil); w.Code != 503 {
		t.Errorf("while the server stops: %d", w.Code)
	}
}
