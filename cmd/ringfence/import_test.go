package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestImportSurvivesKills kills an import again and again, each time a little later, until one gets through. Whatever was
// in by then, every event counts once in the end.
func TestImportSurvivesKills(t *testing.T) {
	const n = 3000
	begin := time.Now().Add(-24 * time.Hour) // what is older than the retention would be forgotten
	var lines strings.Builder
	for i := range n {
		at := begin.Add(time.Duration(i) * time.Second).UTC().Format(time.RFC3339)
		fmt.Fprintf(&lines, `{"id":"e%d","occurred_at":%q,"event":"signup","phone_number":"+1202555%04d"}`+"\n", i, at, 100+i%100)
	}
	file, data := write(t, "events.ndjson", lines.String()), filepath.Join(t.TempDir(), "data")
	var report struct{ Events, Before, Lines int }
	if r := command(t, "", "import", "--init", "--data", data, write(t, "none.ndjson", "")); r.code != exitOK {
		t.Fatal(r)
	}
	kills := 0
	for wait := 20 * time.Millisecond; ; wait += wait / 2 {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		cmd := exec.CommandContext(ctx, os.Args[0], "import", "--data", data, "-o", "json", file) // is killed when ctx ends
		cmd.Env = append(os.Environ(), "RINGFENCE_TEST_MAIN=1")
		out, err := cmd.Output()
		late := ctx.Err() != nil
		cancel()
		if err == nil {
			if err := json.Unmarshal(out, &report); err != nil {
				t.Fatal(err)
			}
			break
		}
		if !late || wait > time.Minute {
			t.Fatal(err)
		}
		kills++
	}
	t.Logf("killed %d times; %d of %d events were in before the last run", kills, report.Before, n)
	if kills == 0 || report.Events+report.Before != n {
		t.Errorf("killed %d times: %+v", kills, report)
	}
	p := start(t, data)
	var profile struct{ Velocity []struct{ Total int } }
	for i := range 100 {
		if err := p.post(t, "/v1/numbers/lookup", fmt.Sprintf(`{"phone_number":"+1202555%04d"}`, 100+i), &profile); err != nil {
			t.Fatal(err)
		}
		if total := profile.Velocity[0].Total; total != n/100 {
			t.Errorf("a number was counted %d times, not %d", total, n/100)
		}
	}
}
