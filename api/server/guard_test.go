package server

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/access"
	"github.com/ringfence/ringfence/api/audit"
	"github.com/ringfence/ringfence/hashing"
)

// guarded is a server that asks for keys.
type guarded struct {
	*Server
	log   *lockedBuffer
	keys  string // file
	audit string // folder
	ring  *hashing.Auditor
}

func newGuarded(t testing.TB, change ...func(*Config)) *guarded {
	t.Helper()
	s, log, _ := newServerOf(t)
	ring, err := hashing.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	g := &guarded{log: log, keys: filepath.Join(t.TempDir(), "apikeys.json"), audit: filepath.Join(t.TempDir(), "audit"), ring: ring.Auditor()}
	cfg := Config{Engine: s.cfg.Engine, Hasher: s.cfg.Hasher, Log: slog.New(slog.NewJSONHandler(log, nil))}
	if cfg.Keys, err = access.OpenRing(g.keys); err != nil {
		t.Fatal(err)
	}
	if cfg.Audit, err = audit.Open(g.audit, g.ring, time.Now, 0); err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(&cfg)
	}
	if g.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return g
}

// key makes a key and returns the header that shows it.
func (g *guarded) key(t testing.TB, change func(*access.Key), scopes ...access.Scope) string {
	t.Helper()
	terms := access.Key{Scopes: scopes, Domain: hashing.DefaultDomain, Rate: access.Rate{Most: 10_000, Window: time.Second}, DailySubjects: 100_000}
	if change != nil {
		change(&terms)
	}
	k, secret, err := access.New(terms, rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := access.Add(g.keys, k); err != nil {
		t.Fatal(err)
	}
	return "Bearer " + secret.Reveal()
}

func idOf(header string) string { return strings.Split(header, "_")[1] }

// entries returns the audit, a line an entry, and checks the chain.
func (g *guarded) entries(t testing.TB) []string {
	t.Helper()
	if _, err := audit.Verify(g.audit, g.ring); err != nil {
		t.Error(err)
	}
	var all []string
	if err := audit.Read(g.audit, func(e audit.Entry) bool {
		all = append(all, strings.Join([]string{e.Who, e.Did, e.Object, e.Before, e.After}, "|"))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// attempt is one cell of the matrix.
type attempt struct {
	name   string
	header []string
	status int // 0: let in
}

// scopeOf returns the scope that the description asks for a call, "" for none.
func scopeOf(t *testing.T) map[string]access.Scope {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]yaml.Node
	}
	if err := yaml.Unmarshal(api.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	all := map[string]access.Scope{}
	for path, methods := range doc.Paths {
		for method, node := range methods {
			if method == "parameters" {
				continue
			}
			var o struct{ Security []map[string][]access.Scope }
			if err := node.Decode(&o); err != nil {
				t.Fatal(err)
			}
			call := strings.ToUpper(method) + " " + path
			all[call] = ""
			if len(o.Security) > 0 && len(o.Security[0]["key"]) == 1 {
				all[call] = o.Security[0]["key"][0]
			}
			if (all[call] == "") == strings.HasPrefix(path, "/v1/") {
				t.Errorf("%s: the description has to say which scope it needs, and nothing outside of /v1 needs one", call)
			}
		}
	}
	return all
}

// TestWhoMayDoWhat tries every call of the description with every scope, and with what lets nobody in.
func TestWhoMayDoWhat(t *testing.T) {
	g := newGuarded(t)
	all := g.key(t, nil, access.Scopes...)
	revoked := g.key(t, nil, access.Scopes...)
	foreign := g.key(t, func(k *access.Key) { k.Domain = "elsewhere" }, access.Scopes...)
	single := map[access.Scope]string{}
	for _, scope := range access.Scopes {
		single[scope] = g.key(t, nil, scope)
	}
	if err := access.Revoke(g.keys, idOf(revoked), time.Now()); err != nil {
		t.Fatal(err)
	}
	unknown := newGuarded(t).key(t, nil, access.Scopes...)
	cut := all[:len(all)-1]
	cells := 0
	for call, scope := range scopeOf(t) {
		tries := []attempt{
			{"all scopes", []string{"Authorization", all}, 0},
			{"no key", nil, 401}, {"nothing behind Bearer", []string{"Authorization", "Bearer "}, 401}, {"another scheme", []string{"Authorization", "Basic " + all[7:]}, 401},
			{"unknown key", []string{"Authorization", unknown}, 401}, {"cut key", []string{"Authorization", cut}, 401},
			{"revoked key", []string{"Authorization", revoked}, 401}, {"key of another domain", []string{"Authorization", foreign}, 403},
			{"key in another header", []string{"X-Api-Key", all[7:]}, 401},
		}
		for s, key := range single {
			tries = append(tries, attempt{"only " + string(s), []string{"Authorization", key}, map[bool]int{false: 403}[s == scope]})
		}
		for _, a := range tries {
			cells++
			w := send(t, g.Server, call, a.header...)
			in := w.Code != 401 && w.Code != 403 && w.Code < 500
			switch {
			case scope == "" && !in, scope != "" && a.status == 0 && !in, scope != "" && a.status != 0 && w.Code != a.status:
				t.Errorf("%s, %s: status %d", call, a.name, w.Code)
			case w.Code == 401 && w.Header().Get("WWW-Authenticate") != "Bearer":
				t.Errorf("%s, %s: the answer does not say how to show a key", call, a.name)
			}
		}
	}
	if cells < 30*14 {
		t.Errorf("%d cells", cells)
	}
	for _, r := range g.routes() {
		path := strings.NewReplacer(":id", "{id}", ":name", "{name}", ":version", "{version}").Replace(r.path)
		if scopeOf(t)[r.method+" "+path] != r.scope {
			t.Errorf("%s %s needs %s, and the description says otherwise", r.method, r.path, r.scope)
		}
	}
	if text := g.log.String(); strings.Contains(text, "rf_") {
		t.Error("the log shows a key")
	}
}

// send makes a call of the description with something that it takes.
func send(t *testing.T, s *Server, call string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	method, path, _ := strings.Cut(call, " ")
	body := map[string]string{
		"/v1/assessments": signup, "/v1/assessments/batch": signup, "/v1/outcomes": `{"assessment_id":"00000000000000000000000000","outcome":"abuse"}`,
		"/v1/lists/{name}/entries": `{"phone_number":"+12025550143"}`, "/v1/numbers/lookup": `{"phone_number":"+12025550143"}`, "/v1/numbers/release": `{"phone_number":"+12025550143"}`,
		"/v1/numbers/erase": `{"phone_number":"+12025550143"}`,
	}[path]
	if strings.HasPrefix(path, "/v1/links/") {
		body = `{"phone_number":"+12025550143","account_id":"u_81"}`
	}
	if strings.HasSuffix(path, "/batch") {
		header = append(header, "Content-Type", ndjson)
	}
	if method == http.MethodDelete {
		path += "?token=k1.AAAAAAAAAAAAAAAAAAAAAA"
	}
	path = strings.NewReplacer("{id}", "00000000000000000000000000", "{name}", "watch", "{version}", "7").Replace(path)
	return do(t, s, method, path, body, nil, header...)
}

// TestWithoutReadAnAnswerIsAnOutline asks about a number that was seen and one that was not.
func TestWithoutReadAnAnswerIsAnOutline(t *testing.T) {
	g := newGuarded(t)
	full, narrow := g.key(t, nil, access.Assess, access.Read), g.key(t, nil, access.Assess)
	for range 3 {
		do(t, g.Server, "POST", "/v1/assessments", signup, nil, "Authorization", full, "Idempotency-Key", "k1")
	}
	unseen := strings.Replace(signup, "0143", "0199", 1)
	fields := func(body string, header ...string) (names []string, text string) {
		var m map[string]any
		w := do(t, g.Server, "POST", "/v1/assessments", body, &m, header...)
		for name := range m {
			names = append(names, name)
		}
		slices.Sort(names)
		return names, w.Body.String()
	}
	want := []string{"assessment_id", "decision", "degraded", "number", "phone_token", "public_message"}
	for name, body := range map[string]string{"seen": signup, "unseen": unseen} {
		if got, _ := fields(body, "Authorization", narrow); !slices.Equal(got, want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got, _ := fields(signup, "Authorization", narrow, "Idempotency-Key", "k1"); !slices.Equal(got, want) {
		t.Errorf("the answer that was kept for another: %v", got)
	}
	if got, _ := fields(signup, "Authorization", full, "Idempotency-Key", "k1"); len(got) < 10 {
		t.Errorf("with read: %v", got)
	}
	line := lines[map[string]any](t, g.Server, "/v1/assessments/batch", signup, "Authorization", narrow)[0]["assessment"].(map[string]any)
	if _, has := line["score"]; has || line["decision"] == nil {
		t.Errorf("in a batch: %v", line)
	}
	var seen, never api.LinkAnswer
	link := `{"phone_number":"+12025550143","account_id":"u_other"}`
	do(t, g.Server, "POST", "/v1/assessments", strings.Replace(signup, "{", `{"verified":true,`, 1), nil, "Authorization", full)
	do(t, g.Server, "POST", "/v1/links/check", link, &seen, "Authorization", narrow)
	do(t, g.Server, "POST", "/v1/links/check", strings.Replace(link, "0143", "0188", 1), &never, "Authorization", narrow)
	if fmt.Sprintf("%+v", seen) != fmt.Sprintf("%+v", never) {
		t.Errorf("a link check tells a number that was seen: %+v, %+v", seen, never)
	}
	do(t, g.Server, "POST", "/v1/links/check", link, &seen, "Authorization", full)
	if seen.Accounts.Verified != 1 || seen.Accounts.Max == nil {
		t.Errorf("with read: %+v", seen.Accounts)
	}
}

func TestRateOfAKey(t *testing.T) {
	g := newGuarded(t)
	slow := g.key(t, func(k *access.Key) { k.Rate = access.Rate{Most: 3, Window: time.Hour} }, access.Assess)
	other := g.key(t, nil, access.Assess)
	for i := range 3 {
		w := do(t, g.Server, "POST", "/v1/assessments", signup, nil, "Authorization", slow)
		if policy, left := w.Header().Get("RateLimit-Policy"), w.Header().Get("RateLimit"); w.Code != 200 || !strings.HasPrefix(policy, `"requests";q=3;w=3600, "subjects";q=100000;w=86400`) ||
			!strings.HasPrefix(left, fmt.Sprintf(`"requests";r=%d;t=`, 2-i)) {
			t.Errorf("status %d, %s, %s", w.Code, policy, left)
		}
	}
	var p api.Problem
	w := do(t, g.Server, "POST", "/v1/assessments", signup, &p, "Authorization", slow)
	if w.Code != 429 || p.Type != api.ProblemType("rate") || len(w.Header().Get("Retry-After")) < 3 {
		t.Errorf("status %d, %s, Retry-After %s", w.Code, p.Type, w.Header().Get("Retry-After"))
	}
	if w := do(t, g.Server, "POST", "/v1/assessments", signup, nil, "Authorization", other); w.Code != 200 {
		t.Errorf("another key: status %d", w.Code)
	}
	batcher := g.key(t, func(k *access.Key) { k.Rate = access.Rate{Most: 3, Window: time.Hour} }, access.Assess)
	refused := 0
	for _, a := range lines[api.BatchAnswer](t, g.Server, "/v1/assessments/batch", strings.Repeat(signup+"\n", 10), "Authorization", batcher) {
		if a.Status == 429 {
			refused++
		}
	}
	if refused != 8 { // the request is one, and each line is one more
		t.Errorf("%d of 10 lines refused", refused)
	}
}

// TestNumbersOfADay asks for different numbers in every way that tells something about one.
func TestNumbersOfADay(t *testing.T) {
	g := newGuarded(t)
	few := g.key(t, func(k *access.Key) { k.DailySubjects = 3 }, access.Scopes...)
	ask := func(path, number string) int {
		body := map[string]string{
			"/v1/assessments": `{"event":"signup","phone_number":"` + number + `"}`, "/v1/links/check": `{"account_id":"u_81","phone_number":"` + number + `"}`,
		}[path]
		if body == "" {
			body = `{"phone_number":"` + number + `"}`
		}
		return do(t, g.Server, "POST", path, body, nil, "Authorization", few).Code
	}
	for i, path := range []string{"/v1/assessments", "/v1/links/check", "/v1/numbers/lookup"} {
		for range 2 {
			if status := ask(path, fmt.Sprintf("+1202555010%d", i)); status != 200 {
				t.Errorf("%s, number %d: status %d", path, i, status)
			}
		}
	}
	for _, path := range []string{"/v1/assessments", "/v1/links/check", "/v1/numbers/lookup", "/v1/numbers/release"} {
		if status := ask(path, "+12025550199"); status != 429 {
			t.Errorf("%s: a fourth number: status %d", path, status)
		}
		if status := ask(path, "+12025550101"); status != 200 {
			t.Errorf("%s: a number of before: status %d", path, status)
		}
	}
	if status := ask("/v1/lists/watch/entries", "+12025550198"); status != 200 {
		t.Errorf("an entry of a list, which tells nothing: status %d", status)
	}
	if line := lines[api.BatchAnswer](t, g.Server, "/v1/assessments/batch", `{"event":"signup","phone_number":"+12025550197"}`, "Authorization", few)[0]; line.Status != 429 {
		t.Errorf("in a batch: %+v", line)
	}
}

func TestAnAlarmOnNumbersInARow(t *testing.T) {
	g := newGuarded(t)
	key := g.key(t, nil, access.Assess)
	for i := range 40 {
		do(t, g.Server, "POST", "/v1/assessments", fmt.Sprintf(`{"event":"signup","phone_number":"+120255501%02d"}`, i), nil, "Authorization", key)
	}
	metrics := do(t, g.Server, "GET", "/metrics", "", nil).Body.String()
	if !strings.Contains(metrics, "ringfence_numbers_in_row_total 39\n") || strings.Count(g.log.String(), "numbers in a row") != 1 || !strings.Contains(g.log.String(), idOf(key)) {
		t.Errorf("no alarm: %s", g.log)
	}
}

const again = "done before under the same Idempotency-Key, and answered again"

// TestTheAuditSaysWhoDidWhat changes everything that can be changed.
func TestTheAuditSaysWhoDidWhat(t *testing.T) {
	g := newGuarded(t)
	key, weak := g.key(t, nil, access.Scopes...), g.key(t, nil, access.Assess)
	var a api.Assessment
	do(t, g.Server, "POST", "/v1/assessments", strings.Replace(signup, "{", `{"verified":true,`, 1), &a, "Authorization", key)
	send := func(method, path, body string, header ...string) {
		t.Helper()
		if w := do(t, g.Server, method, path, body, nil, append(header, "Authorization", key)...); w.Code != 200 {
			t.Errorf("%s: status %d: %s", path, w.Code, w.Body)
		}
	}
	phone := `{"phone_number":"+12025550143"}`
	for range 2 {
		send("POST", "/v1/lists/deny/entries", `{"phone_number":"+12025550143","reason":"fraud","expires_at":"2099-01-02T03:04:05Z"}`)
	}
	send("POST", "/v1/lists/watch/entries", phone+"\n{}\n", "Content-Type", ndjson)
	send("DELETE", "/v1/lists/deny/entries?token="+a.PhoneToken, "")
	send("DELETE", "/v1/lists/n12025550143/entries?token="+a.PhoneToken, "")
	for range 2 {
		send("POST", "/v1/links/unlink", `{"phone_number":"+12025550143","account_id":"u_81"}`, "Idempotency-Key", "k")
	}
	send("POST", "/v1/numbers/release", phone)
	do(t, g.Server, "POST", "/v1/numbers/release", `{"phone_number":"x"}`, nil, "Authorization", key)
	do(t, g.Server, "POST", "/v1/numbers/release", phone, nil, "Authorization", weak)
	do(t, g.Server, "POST", "/v1/numbers/release", phone, nil)
	who, object := "key:"+idOf(key), audit.Object(a.PhoneToken)
	want := []string{
		who + "|lists.add|" + object + "|not on list deny|on list deny, reason fraud, until 2099-01-02T03:04:05Z",
		who + "|lists.add|" + object + "|on list deny|on list deny, reason fraud, until 2099-01-02T03:04:05Z",
		who + "|lists.add|||on list watch: 1 entries added or replaced, 1 lines refused",
		who + "|lists.remove|" + object + "|on list deny|not on list deny",
		who + "|links.unlink|" + object + "|1 accounts linked|0 accounts linked",
		who + "|links.unlink|" + object + "||" + again,
		who + "|numbers.release|" + object + "|generation 0|generation 1",
		"key:" + idOf(weak) + "|numbers.release|||refused: scope",
	}
	if got := g.entries(t); !slices.Equal(got, want) {
		t.Errorf("the audit:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(object) != len("k1.")+4 {
		t.Errorf("the audit says too much of a subject: %s", object)
	}
	open := newGuarded(t) // no keys: loopback
	do(t, open.Server, "POST", "/v1/numbers/release", phone, nil)
	if got := open.entries(t); len(got) != 1 || !strings.HasPrefix(got[0], "loopback|numbers.release|") {
		t.Errorf("without keys: %v", got)
	}
}

// TestTheAuditSaysWhoPublished changes policies, and looks who did it where.
func TestTheAuditSaysWhoPublished(t *testing.T) {
	g := newGuarded(t)
	key, weak := g.key(t, nil, access.Scopes...), g.key(t, nil, access.Assess, access.Read)
	send := func(path, body string, header ...string) {
		t.Helper()
		if w := do(t, g.Server, "POST", path, body, nil, append(header, "Authorization", key)...); w.Code != 200 {
			t.Errorf("%s: status %d: %s", path, w.Code, w.Body)
		}
	}
	add := `{"source":"name: mild\ndecisions: {block: 90}","note":"a secret plan"}`
	send("/v1/policies", add)
	send("/v1/policies/validate", add)
	send("/v1/policies/2/shadow", `{"note":"try"}`)
	for range 2 {
		send("/v1/policies/2/publish", `{"note":"go"}`, "If-Match", `"1"`, "Idempotency-Key", "p")
	}
	send("/v1/policies/1/rollback", `{"note":"back"}`, "If-Match", `"2"`)
	do(t, g.Server, "POST", "/v1/policies/2/publish", `{"note":"late"}`, nil, "If-Match", `"1"`, "Authorization", key)
	do(t, g.Server, "POST", "/v1/policies/2/publish", `{"note":"mine"}`, nil, "If-Match", `"3"`, "Authorization", weak)
	who := "key:" + idOf(key)
	want := []string{
		who + "|policies.add|||version 2 added",
		who + "|policies.shadow||version 1 live|version 1 live, 2 in shadow",
		who + "|policies.publish||version 1 live, 2 in shadow|version 2 live",
		who + "|policies.publish|||2: " + again,
		who + "|policies.rollback||version 2 live|version 3 live",
		"key:" + idOf(weak) + "|policies.publish|||refused: scope",
	}
	if got := g.entries(t); !slices.Equal(got, want) {
		t.Errorf("the audit:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var page api.PolicyPage
	do(t, g.Server, "GET", "/v1/policies", "", &page, "Authorization", key)
	for _, v := range page.Versions {
		if want := map[bool]string{true: "local", false: idOf(key)}[v.Version == 1]; v.Author != want { // the first was there at the start
			t.Errorf("version %d is of %q", v.Version, v.Author)
		}
	}
	if len(page.History) != 4 || page.History[0].Author != idOf(key) || page.History[3].Author != "local" {
		t.Errorf("history: %+v", page.History)
	}
}

// TestNothingChangesWithoutTheAudit breaks the log in the middle.
func TestNothingChangesWithoutTheAudit(t *testing.T) {
	g := newGuarded(t)
	phone := `{"phone_number":"+12025550143"}`
	do(t, g.Server, "POST", "/v1/assessments", signup, nil)
	if w := do(t, g.Server, "POST", "/v1/numbers/release", phone, nil); w.Code != 200 {
		t.Fatal(w.Code)
	}
	breakLog(t, g.audit)
	var p api.Problem
	for range 2 { // the second is refused before it does anything
		if w := do(t, g.Server, "POST", "/v1/numbers/release", phone, &p); w.Code != 503 || p.Type != api.ProblemType("audit") {
			t.Errorf("status %d, %s", w.Code, p.Type)
		}
	}
	var profile api.Profile
	do(t, g.Server, "POST", "/v1/assessments", signup, nil) // a number without events has no profile
	do(t, g.Server, "POST", "/v1/numbers/lookup", phone, &profile)
	if profile.Generation != 2 {
		t.Errorf("generation %d: the third release was done and is not in the audit", profile.Generation)
	}
	if w := do(t, g.Server, "POST", "/v1/assessments", signup, nil); w.Code != 200 {
		t.Errorf("an assessment, which is not audited: status %d", w.Code)
	}
}

// TestWhatIsAnsweredAgainIsInTheAudit asks again for what was done while the audit could not be written.
func TestWhatIsAnsweredAgainIsInTheAudit(t *testing.T) {
	for path, body := range map[string]string{
		"/v1/numbers/erase":      `{"phone_number":"+12025550143"}`,
		"/v1/numbers/release":    `{"phone_number":"+12025550143"}`,
		"/v1/links/unlink":       `{"phone_number":"+12025550143","account_id":"u_81"}`,
		"/v1/lists/deny/entries": `{"phone_number":"+12025550143"}`,
		"/v1/policies":           `{"source":"name: mild\ndecisions: {block: 90}","note":"a secret plan"}`,
	} {
		g := newGuarded(t)
		do(t, g.Server, "POST", "/v1/assessments", signup, nil)
		if err := os.MkdirAll(filepath.Join(g.audit, "LOCK"), 0o700); err != nil { // which should be a file
			t.Fatal(err)
		}
		if w := do(t, g.Server, "POST", path, body, nil, "Idempotency-Key", "once"); w.Code != 503 {
			t.Errorf("%s without an audit: %d", path, w.Code)
		}
		if err := os.Remove(filepath.Join(g.audit, "LOCK")); err != nil {
			t.Fatal(err)
		}
		cfg, err := g.cfg, error(nil)
		if cfg.Audit, err = audit.Open(g.audit, g.ring, time.Now, 0); err != nil {
			t.Fatal(err)
		}
		if g.Server, err = New(cfg); err != nil {
			t.Fatal(err)
		}
		w := do(t, g.Server, "POST", path, body, nil, "Idempotency-Key", "once")
		if w.Code != 200 || w.Header().Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s again: %d", path, w.Code)
		}
		if got := g.entries(t); len(got) != 1 || !strings.HasSuffix(got[0], again) || strings.Contains(body, "phone_number") != strings.Contains(got[0], "|k1.") {
			t.Errorf("%s: the audit has %q", path, got)
		}
	}
}

// TestNoWebPageAsksWithoutAKey sends what a browser sends for a page of another site, and for one whose name leads to this machine.
func TestNoWebPageAsksWithoutAKey(t *testing.T) {
	g := newGuarded(t)
	ask := func(method, path, host string, header ...string) int {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(`{"phone_number":"+12025550143"}`))
		r.Host = host
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		g.Handler().ServeHTTP(w, r)
		if w.Code == http.StatusForbidden && !strings.Contains(w.Body.String(), api.ProblemType("cross-site")) {
			t.Errorf("%s", w.Body)
		}
		return w.Code
	}
	for _, host := range []string{"127.0.0.1:8080", "127.9.9.9", "[::1]:8080", "[::1]", "::1", "localhost:1", "LOCALHOST", "localhost.", ""} {
		if code := ask("POST", "/v1/numbers/erase", host); code != 200 {
			t.Errorf("by %q: %d", host, code)
		}
	}
	for _, host := range []string{"evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "203.0.113.7:8080", "[2001:db8::1]:8080"} {
		for _, path := range []string{"/v1/numbers/erase", "/v1/assessments"} {
			if code := ask("POST", path, host); code != 403 {
				t.Errorf("by %q: %d", host, code)
			}
		}
		if code := ask("GET", "/v1/lists", host); code != 403 {
			t.Errorf("a look by %q: %d", host, code)
		}
	}
	if code := ask("GET", "/v1/lists", "localhost", "Sec-Fetch-Site", "cross-site"); code != 403 {
		t.Errorf("a look for a page of another site: %d", code)
	}
	for _, c := range []struct {
		want   int
		header []string
	}{
		{403, []string{"Origin", "https://evil.example"}},
		{403, []string{"Sec-Fetch-Site", "cross-site"}},
		{403, []string{"Sec-Fetch-Site", "same-site"}},
		{200, []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://localhost:8080"}}, // the console
		{200, []string{"Origin", "http://localhost:8080"}},
	} {
		if code := ask("POST", "/v1/numbers/erase", "localhost:8080", c.header...); code != c.want {
			t.Errorf("%q: %d", c.header, code)
		}
	}
	if code := ask("POST", "/v1/numbers/erase", "ringfence.example", "Authorization", g.key(t, nil, access.Scopes...)); code != 200 {
		t.Errorf("with a key, by any name: %d", code)
	}
	for _, e := range g.entries(t) {
		if strings.Contains(e, "cross-site") {
			t.Errorf("a page can fill the audit: %s", e)
		}
	}
}

// breakLog changes the last line of an audit log.
func breakLog(t *testing.T, dir string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.ndjson"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	if err := os.WriteFile(found[0], []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOnErrorOfAKey closes the store.
func TestOnErrorOfAKey(t *testing.T) {
	s, _, store := newServerOf(t)
	g := newGuarded(t, func(cfg *Config) { cfg.Engine, cfg.Hasher = s.cfg.Engine, s.cfg.Hasher })
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for onError, want := range map[string]string{"": "", "allow": "allow", "challenge": "challenge"} {
		key := g.key(t, func(k *access.Key) { k.OnError = onError }, access.Assess)
		var a api.Assessment
		w := do(t, g.Server, "POST", "/v1/assessments", signup, &a, "Authorization", key)
		if (want == "") != (w.Code == 503) || a.Decision != want {
			t.Errorf("on_error %q: status %d, %q", onError, w.Code, a.Decision)
		}
	}
}

func TestEveryRouteHasAScope(t *testing.T) {
	if checkRoutes([]route{{http.MethodGet, "/v1/new", "", "", nil}}) == nil {
		t.Error("a route without a scope")
	}
}
