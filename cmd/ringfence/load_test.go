package main

import (
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence/ringfence/api"
)

// TestMoreThanTheBoundIsRefused has many clients at a server that works on one change at a time: some are told to
// come back, the others are counted, and readers are answered throughout.
func TestMoreThanTheBoundIsRefused(t *testing.T) {
	p := start(t, t.TempDir(), "--max-in-flight", "1", "--quiet")
	var answered, refused atomic.Int64
	enough := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	for client := range 300 { // more than one place serves in the 25 ms that they wait, on any machine that syncs
		wg.Go(func() {
			for {
				select {
				case <-enough:
					return
				default:
				}
				status, retry := p.raw(t, "/v1/assessments", `{"phone_number":"+12025550143","event":"sign_in"}`)
				switch {
				case status == http.StatusOK:
					answered.Add(1)
				case status == http.StatusServiceUnavailable && retry == "1":
					refused.Add(1)
				default:
					t.Errorf("status %d, Retry-After %q", status, retry)
				}
				if answered.Load() > 200 && refused.Load() > 200 || answered.Load() > 20_000 {
					once.Do(func() { close(enough) })
				}
				if client == 0 {
					if status, _ := p.raw(t, "/v1/numbers/lookup", `{"phone_number":"+12025550143"}`); status != http.StatusOK {
						t.Errorf("a reader: status %d", status)
					}
				}
			}
		})
	}
	wg.Wait()
	var profile api.Profile
	if err := p.post(t, "/v1/numbers/lookup", `{"phone_number":"+12025550143"}`, &profile); err != nil || int64(profile.Velocity[0].Total) != answered.Load() || refused.Load() == 0 {
		t.Errorf("%d were answered, %d refused, counted are %+v: %v", answered.Load(), refused.Load(), profile.Velocity, err)
	}
}

// raw posts a body and returns the status and Retry-After; 0 when no answer came.
func (p *process) raw(t *testing.T, path, body string) (status int, retry string) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+path, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	r.Header.Set("Content-Type", "application/json")
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = w.Body.Close() }()
	return w.StatusCode, w.Header.Get("Retry-After")
}

// endless are lines for as long as somebody takes them.
func endless(req api.AssessmentRequest) iter.Seq2[api.BatchLine, error] {
	return func(yield func(api.BatchLine, error) bool) {
		for yield(api.BatchLine{AssessmentRequest: req}, nil) {
		}
	}
}

// TestSIGTERMLosesNothingUnderWay stops the server under load, single calls and streams, again and again: it ends in good time and without
// an error, and what it counted is what it answered.
func TestSIGTERMLosesNothingUnderWay(t *testing.T) {
	data := t.TempDir()
	var answered atomic.Int64
	for round := range 3 {
		p := start(t, data, "--quiet")
		before := answered.Load()
		enough := make(chan struct{})
		var once sync.Once
		var wg sync.WaitGroup
		another := func() {
			if answered.Add(1) > before+600 {
				once.Do(func() { close(enough) })
			}
		}
		for client := range 32 {
			wg.Go(func() {
				for {
					status, _ := p.raw(t, "/v1/assessments", fmt.Sprintf(`{"phone_number":"+12025550143","event":"sign_in","account_id":"u_%d"}`, client))
					if status != http.StatusOK {
						return
					}
					another()
				}
			})
		}
		streamed := [4]atomic.Bool{}
		for client := range streamed {
			wg.Go(func() {
				c := api.Client{BaseURL: p.url, Attempts: 1}
				for answer, err := range c.AssessBatch(t.Context(), endless(api.AssessmentRequest{PhoneNumber: "+12025550143", Event: "sign_in", AccountID: fmt.Sprint("s_", client)})) {
					if err != nil || answer.Status != http.StatusOK {
						return
					}
					streamed[client].Store(true)
					another()
				}
			})
		}
		<-enough
		began := time.Now()
		if err := p.stop(syscall.SIGTERM); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("round %d: it took %v to stop", round, took)
		}
		wg.Wait()
		for client := range streamed {
			if !streamed[client].Load() {
				t.Errorf("round %d: stream %d had no answer", round, client)
			}
		}
	}
	p := start(t, data)
	var profile api.Profile
	if err := p.post(t, "/v1/numbers/lookup", `{"phone_number":"+12025550143"}`, &profile); err != nil || int64(profile.Velocity[0].Total) != answered.Load() {
		t.Errorf("%d events were answered, counted are %+v: %v", answered.Load(), profile.Velocity, err)
	}
}
