package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ringfence/ringfence/scoring/backtest"
)

// TestSheets holds that CSV and NDJSON say the same, and what the JSON of the same result says.
func TestSheets(t *testing.T) {
	args := []string{"backtest", madeUp(t), "--policy", stricterPolicy(t), "--cost-fp", "20", "--cost-fn", "1"}
	var r backtest.Result
	if out := command(t, "", append(args, "-o", "json")...); json.Unmarshal([]byte(out.out), &r) != nil || len(r.Stricter.Examples) == 0 || len(r.Milder.Examples) == 0 {
		t.Fatal(out)
	}
	want := map[string][][2]string{}
	for _, p := range r.Curve {
		want["curve"] = append(want["curve"], [2]string{"cost", cellText(*p.Loss)})
	}
	for _, row := range r.Reasons {
		want["reasons"] = append(want["reasons"], [2]string{"without_block_legitimate", cellText(row.Without[2].Legitimate)})
	}
	for _, f := range append(slices.Clone(r.Stricter.Examples), r.Milder.Examples...) {
		want["flips"] = append(want["flips"], [2]string{"reasons", cellText(f.Reasons)})
	}
	for _, m := range r.Moves {
		want["moves"] = append(want["moves"], [2]string{"other", fmt.Sprint(m.Other)})
	}
	for table, cells := range want {
		said := command(t, "", append(args, "--table", table, "-o", "csv")...)
		rows, err := csv.NewReader(strings.NewReader(said.out)).ReadAll()
		if err != nil || len(rows) != len(cells)+1 {
			t.Fatalf("%s: %d rows for %d: %v %s", table, len(rows), len(cells), err, said.err)
		}
		objects := strings.Split(strings.TrimSpace(command(t, "", append(args, "--table", table, "-o", "ndjson")...).out), "\n")
		if len(objects) != len(cells) {
			t.Fatalf("%s: %d objects for %d", table, len(objects), len(cells))
		}
		for i, cell := range cells {
			row := rows[i+1]
			if at := slices.Index(rows[0], cell[0]); at < 0 || row[at] != cell[1] {
				t.Errorf("%s, row %d: %v, not %s", table, i, row, cell)
			}
			if again := asRow(t, objects[i], rows[0]); !slices.Equal(again, row) {
				t.Errorf("%s, row %d: csv %q, ndjson %q", table, i, row, again)
			}
		}
	}
}

// asRow writes an object as a line of CSV would.
func asRow(t *testing.T, object string, columns []string) (row []string) {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(object), &o); err != nil || len(o) != len(columns) {
		t.Fatal(object, err)
	}
	for _, c := range columns {
		if list, ok := o[c].([]any); ok {
			texts := []string{}
			for _, text := range list {
				texts = append(texts, fmt.Sprint(text))
			}
			o[c] = texts
		}
		row = append(row, cellText(o[c]))
	}
	return row
}

// TestCellsAreNoFormulas holds that what somebody wrote is text in a spreadsheet, and stays what it is in NDJSON.
func TestCellsAreNoFormulas(t *testing.T) {
	s := newSheet("note,points,codes")
	s.add(`=HYPERLINK("x")`, -3, []string{"@A", "B"})
	for form, want := range map[output]string{
		"csv":    "note,points,codes\n\"'=HYPERLINK(\"\"x\"\")\",-3,\"'@A, B\"\n",
		"ndjson": `{"note":"=HYPERLINK(\"x\")","points":-3,"codes":["@A","B"]}` + "\n",
	} {
		var b strings.Builder
		if err := s.print(&b, form); err != nil || b.String() != want {
			t.Errorf("%s: %s, %v", form, b.String(), err)
		}
	}
}
