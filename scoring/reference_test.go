package scoring

import (
	"strings"
	"testing"
)

// TestReferenceIsComplete holds that every word a policy may use is explained.
func TestReferenceIsComplete(t *testing.T) {
	text := Reference()
	for _, words := range [][]string{subjectNames[1:], eventNames[1:], aggregateNames[1:], decisionNames[1:], typeNames, sharedSlots, memberNames[1:]} {
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("%s is not in the reference", w)
			}
		}
	}
	for slot, name := range sharedSlots {
		if meanings[slot] == "" {
			t.Errorf("%s has no meaning", name)
		}
	}
}
