package traffic

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/ringfence/ringfence/hashing"
)

func made(t *testing.T, cfg Config) *World {
	t.Helper()
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func written(t *testing.T, w *World) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := w.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// frozen is the digest of what seed 1 writes. Figures of policies can be compared only
// while it stays: change it with a reason, and measure again.
const frozen = "62cc08e3c8f4d9f25b9ff09a5aab26262540532a6abae672af045434a6a21e02"

func TestFrozen(t *testing.T) {
	digest := sha256.Sum256(written(t, made(t, Config{Seed: 1, People: 2000})))
	if got := hex.EncodeToString(digest[:]); got != frozen {
		t.Errorf("seed 1 writes %s", got)
	}
}

// fiction are the numbers that belong to nobody.
var fiction = regexp.MustCompile(`^\+(1\d{3}55501\d\d?|49(3023125|6990009|4066969|2214710|8999998)\d{3})$`)

// TestWorld holds what every world promises: fictional numbers, order, and somebody of
// every kind.
func TestWorld(t *testing.T) {
	w := made(t, Config{Seed: 7, People: 3000})
	seen := map[string]int{}
	last := time.Time{}
	for i := range w.Events {
		e := &w.Events[i]
		if e.Number != "" && !fiction.MatchString(e.Number) {
			t.Fatal("a number that is not kept for fiction")
		}
		if _, err := hashing.Parse(e.Number, ""); (err != nil) != (e.Number == "" || e.Has(Typo)) {
			t.Fatal("a number that does not parse, or a mistyped one that does", err)
		}
		if e.At.Before(last) || !e.Verified.IsZero() && e.Verified.Before(e.At) || e.Abuse() && len(e.Traits) > 0 {
			t.Fatalf("out of order, or both sides at once: %s %v", e.ID, e.Traits)
		}
		last = e.At
		seen[e.Campaign]++
		for _, trait := range e.Traits {
			seen[trait]++
		}
	}
	for _, want := range append(CampaignNames(), Family, Office, CarrierNAT, Launch, NoNumber, NumberChange, Abroad, Typo, Victim) {
		if seen[want] == 0 {
			t.Errorf("nobody of the kind %s", want)
		}
	}
	if seen[""] < len(w.Events)/2 || len(w.Runs) != 2*len(CampaignNames()) || len(w.Disposable) == 0 {
		t.Errorf("%d ordinary of %d events, %d runs, %d disposable", seen[""], len(w.Events), len(w.Runs), len(w.Disposable))
	}
}

// TestStrangersShareNoNumber holds that a number has one owner: a household or a campaign.
func TestStrangersShareNoNumber(t *testing.T) {
	w := made(t, Config{Seed: 3, People: MaxPeople})
	owner := map[string]string{}
	for i := range w.Events {
		e := &w.Events[i]
		if e.Number == "" || e.Campaign == Stranger || e.Has(Typo) {
			continue
		}
		who := e.Campaign
		if who == "" && e.Has(Family) {
			who = e.IP
		} else if who == "" {
			who = e.Account
		}
		if before, ok := owner[e.Number]; ok && before != who {
			t.Fatalf("%s shares a number", e.ID)
		}
		owner[e.Number] = who
	}
}

// TestSeedDecides holds that other seeds make other worlds, and that intensities can be set.
func TestSeedDecides(t *testing.T) {
	if bytes.Equal(written(t, made(t, Config{Seed: 1, People: 50})), written(t, made(t, Config{Seed: 2, People: 50}))) {
		t.Error("two seeds, one world")
	}
	w := made(t, Config{Seed: 1, People: 50, Campaigns: []string{Disposable}, Intensity: map[string]float64{Disposable: 5}, Runs: 3})
	per := map[string]int{}
	for i := range w.Events {
		if w.Events[i].Abuse() {
			per[w.Events[i].Number]++
		}
	}
	for _, n := range per {
		if n != 5 {
			t.Errorf("%d accounts on a number, not 5", n)
		}
	}
	if len(per) == 0 || !slices.Equal(w.Runs, slices.Repeat([]Run{{Disposable, 5}}, 3)) {
		t.Errorf("runs %v", w.Runs)
	}
	listed := 0.0
	bare := made(t, Config{Seed: 1, People: 50, Campaigns: []string{Disposable}, Intensity: map[string]float64{Disposable: 5}, Runs: 3, Listed: &listed})
	if len(bare.Disposable) != 0 || len(w.Disposable) == 0 || !bytes.Equal(written(t, bare), written(t, w)) {
		t.Errorf("%d on the bought list, not none of %d, or other events", len(bare.Disposable), len(w.Disposable))
	}
	for _, bad := range []Config{{}, {People: MaxPeople + 1}, {People: 1, Campaigns: []string{"x"}}} {
		if _, err := New(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// TestWrite holds that the file tells events, outcomes and labels, and no truth beside them.
func TestWrite(t *testing.T) {
	w := made(t, Config{Seed: 5, People: 100})
	lines := map[string]int{}
	known := map[string]bool{}
	for _, line := range bytes.Split(bytes.TrimSpace(written(t, w)), []byte("\n")) {
		var r map[string]any
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		switch {
		case r["label"] != nil:
			lines["labels"]++
		case r["outcome"] != nil:
			lines["outcomes"]++
			if !known[r["for"].(string)] {
				t.Error("an outcome before its event")
			}
		default:
			lines["events"]++
			known[r["id"].(string)] = true
		}
	}
	labels := lines["labels"] * 100 / len(w.Events)
	if lines["events"] != len(w.Events) || lines["outcomes"] == 0 || labels < 85 || labels > 95 {
		t.Errorf("%v of %d events", lines, len(w.Events))
	}
}
