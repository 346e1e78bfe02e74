package pebblestore

import (
	"errors"
	"testing"

	"github.com/ringfence/ringfence/engine"
)

// TestPoliciesOfOlderPrograms opens a store whose program knew no rollouts: the newest version was the live one.
func TestPoliciesOfOlderPrograms(t *testing.T) {
	s, err := OpenMemory(Options{Keys: testKeys})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for version, source := range []string{1: "a", 2: "b"} {
		if version == 0 {
			continue
		}
		if err := s.db.Set(appendPolicyKey(nil, 1, uint32(version)), append(make([]byte, policyHead), source...), s.writeOptions()); err != nil {
			t.Fatal(err)
		}
	}
	live := func(want uint32) {
		t.Helper()
		if state, err := s.PolicyState(t.Context(), 1); err != nil || state.Live != want || len(state.Shadows) != 0 {
			t.Errorf("state: %+v, %v", state, err)
		}
	}
	live(2)
	if v, err := s.Policy(t.Context(), 1, 2); err != nil || string(v.Source) != "b" || v.Author != "" {
		t.Errorf("version 2: %+v, %v", v, err)
	}
	if again, err := s.AdoptPolicy(t.Context(), 1, []byte("b"), 5); err != nil || again != 2 {
		t.Errorf("adopted again as %d, %v", again, err)
	}
	v := &engine.PolicyVersion{Source: []byte("c")}
	if err := s.AddPolicy(t.Context(), 1, v, nil); err != nil || v.Version != 3 {
		t.Errorf("added: %+v, %v", v, err)
	}
	live(2)
	if err := s.RollOut(t.Context(), 1, &engine.Rollout{Kind: engine.Published, Version: 3, Replaces: 2}); err != nil {
		t.Error(err)
	}
	live(3)

	if err := s.db.Set(appendTable(nil, tableRolledOut, 1), []byte("{"), s.writeOptions()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PolicyState(t.Context(), 1); !errors.Is(err, engine.ErrCorrupt) {
		t.Errorf("a damaged state: %v", err)
	}
}
