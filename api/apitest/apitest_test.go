package apitest

import (
	"testing"
	"time"

	"github.com/ringfence/ringfence/api"
)

func TestServersAreAsAskedFor(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := New(t, Options{
		Policy: []byte("name: mine\nsignals:\n  n: {subject: phone, count: signup, window: 1h}\ndecisions: {block: 50}\n"),
		Now:    func() time.Time { return now },
	})
	req := api.AssessmentRequest{Event: "signup", PhoneNumber: "+1 202 555 0143"}
	for _, want := range []float64{1, 2, 1} {
		a, err := s.Client.Assess(t.Context(), req)
		if err != nil || a.Policy.Name != "mine" || a.Signals["n"] != want || a.FirstSeen != "2026-01-02T03:04:05Z" {
			t.Fatal(a, err)
		}
		if want == 2 {
			now = now.Add(2 * time.Hour)
		}
	}
	other := New(t, Options{})
	if a, err := other.Client.Assess(t.Context(), req); err != nil || a.Policy.Name != "default" || a.Signals["signups_1h"] != 1 {
		t.Error(a, err)
	}
	if _, err := Start(Options{Policy: []byte("colour: red")}); err == nil {
		t.Error("a policy that is none")
	}
}
