package main

import (
	"errors"
	"net/http"
	"syscall"
	"testing"

	"github.com/ringfence/ringfence/api"
)

// TestBelowTheReserveTheServerSaysSo serves from a disk that never has as much room as is asked for: changes are refused for now,
// readiness is red, and readers are answered.
func TestBelowTheReserveTheServerSaysSo(t *testing.T) {
	const event = `{"phone_number":"+12025550143","event":"sign_in"}`
	data := t.TempDir()
	p := start(t, data, "--quiet")
	if status, _ := p.raw(t, "/v1/assessments", event); status != http.StatusOK {
		t.Fatalf("with room: status %d", status)
	}
	if err := (&api.Client{BaseURL: p.url}).Ready(t.Context()); err != nil {
		t.Errorf("with room: %v", err)
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p = start(t, data, "--quiet", "--disk-reserve=1000000000000000")
	if status, retry := p.raw(t, "/v1/assessments", event); status != http.StatusServiceUnavailable || retry == "" {
		t.Errorf("a change: status %d, Retry-After %q", status, retry)
	}
	var red *api.Error
	if err := (&api.Client{BaseURL: p.url}).Ready(t.Context()); !errors.As(err, &red) || red.Status != http.StatusServiceUnavailable {
		t.Errorf("readiness: %v", err)
	}
	var profile api.Profile
	if err := p.post(t, "/v1/numbers/lookup", `{"phone_number":"+12025550143"}`, &profile); err != nil || profile.Velocity[0].Total != 1 {
		t.Errorf("a reader: %v", err)
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}
