// Package apitest gives tests a real ringfence server, in the process and in memory, so
// that nobody has to make up what one would answer.
//
//	s := apitest.New(t, apitest.Options{})
//	a, err := s.Client.Assess(t.Context(), api.AssessmentRequest{Event: "signup", PhoneNumber: "+1 202 555 0143"})
package apitest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/server"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Options say what a server is like. The zero value is a server as ringfence serve has
// it, with the embedded policy.
type Options struct {
	Policy []byte           // a policy document in YAML; nil is the embedded one
	Now    func() time.Time // the clock, safe for concurrent use; nil is time.Now
}

// Server is a running server. It answers on a port of the loopback interface that was free, knows
// nothing at first, and forgets everything when it is closed. Each has a key of its own, so that
// tokens of one mean nothing to another.
type Server struct {
	URL    string
	Client *api.Client // of this server

	http  *httptest.Server
	store *pebblestore.Store
}

// New starts a server that ends with the test. A policy that cannot be used fails the test.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Start starts a server for what is no test. Close it.
func Start(o Options) (*Server, error) {
	policy := scoring.Default()
	if o.Policy != nil {
		var err error
		if policy, err = scoring.Compile(o.Policy); err != nil {
			return nil, err
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	ring, err := hashing.NewKeyring(rand.Reader, o.Now())
	if err != nil {
		return nil, err
	}
	hasher, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		return nil, err
	}
	store, err := pebblestore.OpenMemory(pebblestore.Options{Keys: ring.KeyChecks()})
	if err != nil {
		return nil, err
	}
	e, err := engine.New(context.Background(), engine.Config{Store: store, Domain: hasher.Domain(), Policy: policy, Now: o.Now})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	s, err := server.New(server.Config{Engine: e, Hasher: hasher, Log: slog.New(slog.DiscardHandler), LateEvents: store.LateEvents})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	h := httptest.NewServer(s.Handler())
	return &Server{URL: h.URL, Client: &api.Client{BaseURL: h.URL}, http: h, store: store}, nil
}

// Close answers what is under way and ends the server.
func (s *Server) Close() error {
	s.http.Close()
	if err := s.store.Close(); err != nil {
		return fmt.Errorf("apitest: %w", err)
	}
	return nil
}
