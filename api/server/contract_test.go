package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	problems "github.com/pb33f/libopenapi-validator/errors"
	"go.yaml.in/yaml/v3"

	"github.com/ringfence/ringfence/api"
)

// contract is openapi.yaml as something that requests and answers are held against.
// It is made once, and asked by one test at a time.
var contract = sync.OnceValues(func() (*checker, error) {
	doc, err := libopenapi.NewDocument(api.OpenAPI())
	if err != nil {
		return nil, err
	}
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		return nil, fmt.Errorf("%v", errs)
	}
	return &checker{v: v}, nil
})

type checker struct {
	mu sync.Mutex
	v  validator.Validator // guarded by mu
}

// check holds a request and its answer against the description: every answer has to be as
// described, and so has every request that was not refused.
func check(t testing.TB, r *http.Request, body string, w *httptest.ResponseRecorder) {
	t.Helper()
	c, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	if w.Code == http.StatusMethodNotAllowed || r.URL.Path == "/panic" || w.Code == http.StatusNotFound && strings.Contains(w.Body.String(), ":no-route") {
		return // what is not described
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.Header().Get("Content-Type") == ndjson {
		c.checkLines(t, r, body, w)
		return
	}
	c.checkAnswer(t, r, w, w.Body.Bytes())
	if (w.Code == http.StatusOK || w.Code == http.StatusAccepted) && r.Header.Get("Content-Type") != ndjson {
		c.checkRequest(t, r, body)
	}
}

func (c *checker) checkAnswer(t testing.TB, r *http.Request, w *httptest.ResponseRecorder, body []byte) {
	t.Helper()
	answer := w.Result()
	answer.Body = io.NopCloser(bytes.NewReader(body))
	if ok, why := c.v.ValidateHttpResponse(r, answer); !ok {
		t.Errorf("%s %s: the answer (%d) is not as described: %s\n%.500s", r.Method, r.URL.Path, w.Code, explainAll(why), body)
	}
}

func (c *checker) checkRequest(t testing.TB, r *http.Request, body string) {
	t.Helper()
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(strings.NewReader(body))
	if ok, why := c.v.ValidateHttpRequestSync(again); !ok {
		t.Errorf("%s %s: the request was taken and is not as described: %s\n%.500s", r.Method, r.URL.Path, explainAll(why), body)
	}
}

// checkLines holds some lines of a stream, each as if it were alone.
func (c *checker) checkLines(t testing.TB, r *http.Request, body string, w *httptest.ResponseRecorder) {
	t.Helper()
	requests := strings.Split(body, "\n")
	n := 0
	for text := range bytes.Lines(w.Body.Bytes()) {
		if n++; n > 100 {
			return
		}
		c.checkAnswer(t, r, w, text)
		var a api.BatchAnswer
		if err := json.Unmarshal(text, &a); err != nil {
			t.Error(err)
		}
		if a.Status == http.StatusOK {
			c.checkRequest(t, r, requests[a.Line-1])
		}
	}
}

func explainAll(all []*problems.ValidationError) string {
	var text []string
	for _, e := range all {
		text = append(text, e.Message+": "+e.Reason)
		for _, s := range e.SchemaValidationErrors {
			text = append(text, s.Reason+" at "+s.FieldPath)
		}
	}
	return strings.Join(text, "; ")
}

func TestDescriptionIsOpenAPI(t *testing.T) {
	c, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok, why := c.v.ValidateDocument(); !ok {
		t.Error(explainAll(why))
	}
}

// operation is what these tests look at in openapi.yaml.
type operation struct {
	OperationID string `yaml:"operationId"`
	Summary     string
	Tags        []string
	RequestBody struct{ Content map[string]media } `yaml:"requestBody"`
	Responses   map[string]struct{ Content map[string]media }
}

type media struct {
	Examples map[string]struct{ Value any }
}

func operations(t *testing.T) map[string]operation {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]yaml.Node
	}
	if err := yaml.Unmarshal(api.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	all := map[string]operation{}
	for path, methods := range doc.Paths {
		for method, node := range methods {
			if method == "parameters" {
				continue
			}
			var o operation
			if err := node.Decode(&o); err != nil {
				t.Fatal(path, err)
			}
			all[strings.ToUpper(method)+" "+path] = o
		}
	}
	return all
}

// TestDescriptionIsComplete is a linter: what a reader looks for is there.
func TestDescriptionIsComplete(t *testing.T) {
	ids := map[string]bool{}
	for call, o := range operations(t) {
		if o.OperationID == "" || ids[o.OperationID] || !strings.HasSuffix(o.Summary, ".") || len(o.Tags) != 1 {
			t.Errorf("%s has no id of its own, no sentence as summary, or not one tag", call)
		}
		ids[o.OperationID] = true
		for kind, m := range o.RequestBody.Content {
			if len(m.Examples) == 0 {
				t.Errorf("%s: no example of a request of type %s", call, kind)
			}
		}
		api := strings.Contains(call, " /v1/")
		for kind, m := range o.Responses["200"].Content {
			if api && len(m.Examples) == 0 {
				t.Errorf("%s: no example of an answer of type %s", call, kind)
			}
		}
		if statuses := slices.Sorted(maps.Keys(o.Responses)); api && !slices.Contains(statuses, "500") {
			t.Errorf("%s: answers %v", call, statuses)
		}
	}
	text := string(api.OpenAPI())
	var doc struct {
		Components map[string]map[string]yaml.Node
	}
	if err := yaml.Unmarshal(api.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	for kind, named := range doc.Components {
		for name := range named {
			if ref := "#/components/" + kind + "/" + name + `"`; !strings.Contains(text, ref) && !strings.HasPrefix(name, "Batch") && kind != "securitySchemes" {
				t.Errorf("%s is not used", ref)
			}
		}
	}
}

// versionFor is the version that a call is tried on: the second one, unless it has to be calibrated or an old one.
func versionFor(path string) string {
	if strings.HasSuffix(path, "/rollback") || strings.HasSuffix(path, "/calibration") {
		return "1"
	}
	return "2"
}

// prepare adds a second version, and returns the id of a backtest of the first that can calibrate it where a call needs that.
func prepare(t *testing.T, s *Server, path string) string {
	t.Helper()
	switch {
	case strings.HasSuffix(path, "/calibration"):
		return calibrating20(t, s)
	case strings.HasPrefix(path, "/v1/policies/2"):
		do(t, s, "POST", "/v1/policies", `{"source":"name: b\ndecisions: {block: 80}","note":"another"}`, nil)
	}
	return ""
}

// TestExamplesOfRequestsWork sends every example of the description. The id and the token in them
// stand for those of an event that was there before.
func TestExamplesOfRequestsWork(t *testing.T) {
	sent := 0
	for call, o := range operations(t) {
		for kind, m := range o.RequestBody.Content {
			for name, example := range m.Examples {
				s, _ := newTestServer(t)
				var a api.Assessment
				do(t, s, "POST", "/v1/assessments", signup, &a)
				b, err := json.Marshal(example.Value)
				if err != nil {
					t.Fatal(err)
				}
				body := strings.NewReplacer("00362001uo0rh4mll0286fg05o", a.AssessmentID, "k1.y1JVo3Bj7K6clmq-zzMUWQ", a.PhoneToken).Replace(string(b))
				method, path, _ := strings.Cut(call, " ")
				path = strings.NewReplacer("{name}", "watch", "{version}", versionFor(path)).Replace(path)
				body = strings.Replace(body, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", prepare(t, s, path), 1)
				w := do(t, s, method, path, body, nil, "Content-Type", kind, "If-Match", `"1"`)
				if sent++; w.Code != http.StatusOK && w.Code != http.StatusAccepted {
					t.Errorf("%s, example %s: status %d: %s", call, name, w.Code, w.Body)
				}
			}
		}
	}
	if sent < 15 {
		t.Errorf("%d examples were sent", sent)
	}
}

// TestExamplesOfAnswersAreAnswers holds the examples of answers against their schemas.
func TestExamplesOfAnswersAreAnswers(t *testing.T) {
	c, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	looked := 0
	for call, o := range operations(t) {
		for kind, m := range o.Responses["200"].Content {
			for name, example := range m.Examples {
				body, err := json.Marshal(example.Value)
				if err != nil {
					t.Fatal(err)
				}
				method, path, _ := strings.Cut(call, " ")
				path = strings.NewReplacer("{name}", "watch", "{id}", "00362001uo0rh4mll0286fg05o", "{version}", "2").Replace(path)
				r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
				w := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(bytes.NewReader(body))}
				if ok, why := c.v.ValidateHttpResponse(r, w); !ok {
					t.Errorf("%s, example %s: %s", call, name, explainAll(why))
				}
				looked++
			}
		}
	}
	if looked < 14 {
		t.Errorf("%d examples", looked)
	}
}

// TestTheContractRefuses holds that the checks above can fail.
func TestTheContractRefuses(t *testing.T) {
	c, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/assessments", strings.NewReader(`{"event":"signup","colour":"red"}`))
	r.Header.Set("Content-Type", "application/json")
	if ok, _ := c.v.ValidateHttpRequestSync(r); ok {
		t.Error("a request with an unknown field")
	}
	for status, body := range map[int]string{200: `{"decision":"perhaps"}`, 422: `{"title":"x"}`, 418: `{}`} {
		kind := map[bool]string{true: "application/json", false: "application/problem+json"}[status == 200]
		w := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body))}
		if ok, _ := c.v.ValidateHttpResponse(r, w); ok {
			t.Errorf("an answer with status %d: %s", status, body)
		}
	}
}
