package server

import (
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/scoring/backtest"
)

// wireTypes are the schemas of openapi.yaml that package api has types for.
var wireTypes = map[string]any{
	"AssessmentRequest": api.AssessmentRequest{}, "Assessment": api.Assessment{}, "BatchLine": api.BatchLine{}, "BatchAnswer": api.BatchAnswer{},
	"LoggedAssessment": api.LoggedAssessment{}, "Reason": api.Reason{}, "Number": api.Number{}, "Accounts": api.Accounts{}, "Policy": api.Policy{},
	"OutcomeRequest": api.OutcomeRequest{}, "OutcomeAnswer": api.OutcomeAnswer{}, "OutcomeResult": api.OutcomeResult{},
	"PhoneRequest": api.PhoneRequest{}, "LinkAnswer": api.LinkAnswer{}, "UnlinkAnswer": api.UnlinkAnswer{}, "ReleaseAnswer": api.ReleaseAnswer{}, "EraseAnswer": api.EraseAnswer{},
	"Profile": api.Profile{}, "ListEntry": api.ListEntry{}, "ListAnswer": api.ListAnswer{}, "ImportAnswer": api.ImportAnswer{},
	"ListPage": api.ListPage{}, "ListNames": api.ListNames{}, "RemoveAnswer": api.RemoveAnswer{}, "Problem": api.Problem{},
	"ShadowDecision": api.ShadowDecision{}, "PolicyRequest": api.PolicyRequest{}, "PolicyCheck": api.PolicyCheck{}, "PolicyVersion": api.PolicyVersion{},
	"PolicyPage": api.PolicyPage{}, "Rollout": api.Rollout{}, "RolloutRequest": api.RolloutRequest{}, "ShadowRequest": api.ShadowRequest{},
	"RolloutAnswer": api.RolloutAnswer{}, "CalibrationRequest": api.CalibrationRequest{}, "Calibration": api.Calibration{},
	"CalibrationBand": api.CalibrationBand{}, "BacktestRequest": api.BacktestRequest{}, "Backtest": api.Backtest{}, "BacktestResult": backtest.Result{},
	"Privacy": api.Privacy{}, "Retention": api.Retention{}, "SubjectKey": api.SubjectKey{}, "ShadowReport": api.ShadowReport{}, "PolicyReport": api.PolicyReport{},
}

type schema struct {
	Type                 string
	Required             []string
	Properties           map[string]yaml.Node
	AdditionalProperties yaml.Node `yaml:"additionalProperties"`
}

// TestSchemasAreTheWireTypes holds that neither has a field that the other does not have, that what an answer
// always has is required, and that requests are closed while answers are open.
func TestSchemasAreTheWireTypes(t *testing.T) {
	var doc struct {
		Components struct{ Schemas map[string]schema }
	}
	if err := yaml.Unmarshal(api.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	for name, s := range doc.Components.Schemas {
		wire, known := wireTypes[name]
		if !known {
			if s.Type == "object" && name != "Signals" && name != "LinkRequest" && name != "Outline" {
				t.Errorf("%s: which type is it?", name)
			}
			continue
		}
		fields, always := jsonFields(wire)
		if got := slices.Sorted(maps.Keys(s.Properties)); !slices.Equal(got, fields) {
			t.Errorf("%s: the schema has %v, the type %v", name, got, fields)
		}
		request := strings.HasSuffix(name, "Request") || name == "BatchLine" || name == "ListEntry"
		if closed := s.AdditionalProperties.Value == "false"; closed != (request || name == "ListAnswer") { // told apart by it from ImportAnswer
			t.Errorf("%s: additionalProperties", name)
		}
		for _, field := range always {
			if !request && !slices.Contains(s.Required, field) {
				t.Errorf("%s: %s is always there, and not required", name, field)
			}
		}
	}
	for name := range wireTypes {
		if _, ok := doc.Components.Schemas[name]; !ok {
			t.Errorf("%s is not described", name)
		}
	}
}

// jsonFields returns the names of a type's fields, sorted, and those that are never left out.
func jsonFields(wire any) (all, always []string) {
	for _, f := range reflect.VisibleFields(reflect.TypeOf(wire)) {
		name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			continue
		}
		all = append(all, name)
		if rest == "" {
			always = append(always, name)
		}
	}
	slices.Sort(all)
	return all, always
}

// TestRefusalsAreProblems looks at every answer that is described and is no success.
func TestRefusalsAreProblems(t *testing.T) {
	var doc struct {
		Components struct {
			Responses map[string]struct {
				Headers map[string]yaml.Node
				Content map[string]media
			}
		}
	}
	if err := yaml.Unmarshal(api.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	text := string(api.OpenAPI())
	for name, r := range doc.Components.Responses {
		if _, ok := r.Content["application/problem+json"]; !ok || len(r.Content) != 1 || len(r.Content["application/problem+json"].Examples) == 0 {
			t.Errorf("%s is no problem, or has no example", name)
		}
		if _, ok := r.Headers["X-Request-Id"]; !ok {
			t.Errorf("%s has no request id", name)
		}
	}
	for _, r := range []*refusal{
		refuseJSON, refuseCut, refuseTimeout, refuseLines, refuseDraining, refuseTooLarge, refuseMedia, refuseNotLines, refuseFields, refuseKey, refuseOneKey,
		refuseRoute, refuseInternal, refuseStore,
	} {
		if !strings.Contains(text, r.code) {
			t.Errorf("nothing says what %s is", r.code)
		}
	}
	for call, o := range operations(t) {
		if body := len(o.RequestBody.Content) > 0; body != strings.HasPrefix(call, http.MethodPost+" ") {
			t.Errorf("%s: a body, or none", call)
		}
		_, done := o.Responses["200"]
		if _, taken := o.Responses["202"]; !done && !taken {
			t.Errorf("%s has no success", call)
		}
	}
}

// TestDescriptionHasQuotas: every answer to a call that takes a key says where the key stands, as TestRateOfAKey sees it.
func TestDescriptionHasQuotas(t *testing.T) {
	type response struct{ Headers map[string]yaml.Node }
	var doc struct {
		Paths map[string]map[string]yaml.Node
	}
	if err := yaml.Unmarshal(api.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for path, methods := range doc.Paths {
		for method, node := range methods {
			var call struct {
				Security  []map[string][]string
				Responses map[string]response
			}
			if node.Kind != yaml.MappingNode || node.Decode(&call) != nil || len(call.Security) == 0 {
				continue
			}
			seen++
			success, ok := call.Responses["200"]
			if !ok {
				success = call.Responses["202"]
			}
			for _, name := range []string{"RateLimit-Policy", "RateLimit"} {
				if _, ok := success.Headers[name]; !ok {
					t.Errorf("%s %s: an answer has %s, and the description does not", method, path, name)
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d calls take a key", seen)
	}
}
