package scoring

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestDefaultPolicy runs the examples of what the embedded policy should say.
func TestDefaultPolicy(t *testing.T) {
	doc, err := os.ReadFile("testdata/default_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	results, err := Default().Test(doc)
	if err != nil || len(results) < 10 {
		t.Fatalf("%d cases, %v", len(results), err)
	}
	for _, r := range results {
		for _, d := range r.Differ {
			t.Errorf("line %d, %s: %s", r.Line, r.Name, d)
		}
	}
}

func TestCasesThatFail(t *testing.T) {
	results, err := Default().Test([]byte("- name: x\n  given: {event: signup, signups_1h: 8}\n  want: {decision: block, score: 10, reasons: [LIST_DENY]}\n"))
	want := "decision is review, not block; score is 60, not 10; reasons are [SIGNUPS_BY_PHONE_1H], not [LIST_DENY]"
	if err != nil || strings.Join(results[0].Differ, "; ") != want {
		t.Errorf("%v, %v, want %s", results, err, want)
	}
}

func TestWrongCasesAreAllReported(t *testing.T) {
	_, err := Default().Test([]byte(`
- name: x
  given: {event: verified, signup_1h: 1, number.valid: 1, number.type: phone, number.region: gb, signups_30d: many, list.deny: maybe}
  want: {decision: blok, score: 101, reasons: LIST_DENY, colour: red}
- given: []
`))
	var bad *PolicyError
	if !errors.As(err, &bad) {
		t.Fatal(err)
	}
	for _, want := range []string{
		"no value of event", "did you mean signups_1h?", "no value of number.valid", "no value of number.type", "no value of number.region", "a number from 0",
		"no value of list.deny", `"blok" is unknown here (did you mean block?)`, "from 0 to 100", "list of reason codes", `unknown field "colour"`, `field "name" is missing`, `field "want" is missing`, "has to be a mapping",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not reported:\n%v", want, err)
		}
	}
	if _, err := Default().Test([]byte("name: x")); err == nil || !strings.Contains(err.Error(), "list of cases") {
		t.Errorf("no list: %v", err)
	}
}
