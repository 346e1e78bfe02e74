package hashing

import (
	"testing"
)

// TestAuditor checks codes with the keyring as it is, and after its key is gone.
func TestAuditor(t *testing.T) {
	k := testKeyring(t)
	a := k.Auditor()
	key, code := a.Sign("x")
	flipped := code
	flipped[15] ^= 1
	for _, c := range []struct {
		key    int
		text   string
		code   Digest
		same   bool
		untold bool
	}{{key, "x", code, true, false}, {key, "y", code, false, false}, {key, "x", flipped, false, false}, {key + 1, "x", code, false, false}} {
		if same, untold := a.Check(c.key, c.text, c.code); same != c.same || untold != c.untold {
			t.Errorf("%d %s: %v, %v", c.key, c.text, same, untold)
		}
	}
	h, err := k.Domain(DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	if h.IdempotencyKey("") == code || validDomain(auditSpace) {
		t.Error("a domain could have the subkey of the audit")
	}
	next := *k.p.v
	next.Keys = append([]ringKey{{ID: 9, State: Destroyed}}, next.Keys...)
	if same, untold := (&Keyring{hide(next)}).Auditor().Check(9, "x", code); same || !untold {
		t.Errorf("a destroyed key: %v, %v", same, untold)
	}
}

func TestNeighbours(t *testing.T) {
	h := testHasher(t)
	subject := func(raw string) Subject {
		n, err := Parse(raw, "")
		if err != nil {
			t.Fatal(err)
		}
		return h.Phone(n)
	}
	n, err := Parse("+1 202 555 0119", "")
	if err != nil {
		t.Fatal(err)
	}
	below, above := h.Neighbours(n)
	if below != subject("+12025550118") || above != subject("+12025550120") {
		t.Error("not the numbers around it")
	}
	if below, above := h.Neighbours(Number{}); below.Given() || above.Given() {
		t.Error("no number has neighbours")
	}
	for text, want := range map[string][2]string{"19": {"20", "18"}, "20": {"21", "19"}, "99": {"", "98"}, "00": {"01", ""}} {
		up, down := []byte(text), []byte(text)
		if ok := step(up, '9', '0', 1); ok != (want[0] != "") || ok && string(up) != want[0] {
			t.Errorf("above %s: %s", text, up)
		}
		if ok := step(down, '0', '9', -1); ok != (want[1] != "") || ok && string(down) != want[1] {
			t.Errorf("below %s: %s", text, down)
		}
	}
}
