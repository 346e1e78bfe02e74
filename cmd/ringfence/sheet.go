package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/scoring/backtest"
)

// sheet is a table for other programs: as CSV under a head of columns, or as NDJSON, an object a row.
type sheet struct {
	columns []string // plain words
	rows    [][]any  // numbers, texts, lists of texts; nil for none
}

func newSheet(columns string) *sheet { return &sheet{columns: strings.Split(columns, ",")} }

func (s *sheet) add(cells ...any) { s.rows = append(s.rows, cells) }

func (s *sheet) print(w io.Writer, form output) error {
	if form != "csv" {
		return s.printJSON(w)
	}
	c := csv.NewWriter(w)
	_ = c.Write(s.columns) // Error tells
	for _, row := range s.rows {
		var cells []string
		for _, cell := range row {
			cells = append(cells, cellText(cell))
		}
		_ = c.Write(cells)
	}
	c.Flush()
	return c.Error()
}

func cellText(cell any) string {
	switch v := cell.(type) {
	case nil:
		return ""
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case []string:
		return harmless(strings.Join(v, ", "))
	case string:
		return harmless(v)
	}
	return fmt.Sprint(cell)
}

// harmless is a text that no spreadsheet takes for a formula: what begins as one gets a quote in front, as OWASP has it (CSV injection).
func harmless(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}

func (s *sheet) printJSON(w io.Writer) error {
	for _, row := range s.rows {
		line := []byte("{")
		for i, cell := range row {
			text, err := json.Marshal(cell)
			if err != nil {
				return err
			}
			if i > 0 {
				line = append(line, ',')
			}
			line = fmt.Appendf(line, "%q:%s", s.columns[i], text)
		}
		if _, err := w.Write(append(line, "}\n"...)); err != nil {
			return err
		}
	}
	return nil
}

// addSheets has -o of a command take csv, too, and adds --table, which says what csv and ndjson have a line for: one of names, if there is a choice.
func addSheets(cmd *cobra.Command, form *output, table *string, names ...string) {
	fl := cmd.Flags()
	forms := choice{(*string)(form), "form", []string{"table", "json", "ndjson", "csv"}}
	if out := fl.Lookup("output"); out != nil {
		out.Value, out.Usage = forms, forms.words()
	} else {
		fl.VarP(forms, "output", "o", forms.words())
	}
	if len(names) > 0 {
		of := choice{table, "name", names}
		fl.Var(of, "table", "what -o csv and ndjson have a line for: "+of.words()+" (default: the first of them)")
	}
}

// isSheet reports whether a form is made of lines, and refuses a table for any other.
func isSheet(form output, table string) (bool, error) {
	lines := form == "csv" || form == "ndjson"
	if table != "" && !lines {
		return false, usage("--table is for -o csv and -o ndjson")
	}
	return lines, nil
}

func optional[T any](v *T) any {
	if v == nil {
		return nil
	}
	return *v
}

// rateColumns and rateCells are a share with its interval.
func rateColumns(name string) string { return name + "," + name + "_low," + name + "_high" }

func rateCells(r backtest.Rate) []any {
	if !r.Known() {
		return []any{nil, nil, nil}
	}
	return []any{r.Share, r.Low, r.High}
}

// pointColumns and pointCells are how well a threshold does, with what it costs last, where errors have a cost.
func pointColumns(priced bool) string {
	columns := "threshold,acted_on,tp,fp,fn,tn," + rateColumns("precision") + "," + rateColumns("recall") + "," + rateColumns("fpr")
	if priced {
		columns += ",cost"
	}
	return columns
}

func pointCells(p *backtest.Point) []any {
	cells := []any{p.Threshold, p.Events, p.TP, p.FP, p.FN, p.TN}
	for _, rate := range []backtest.Rate{p.Precision, p.Recall, p.FPR} {
		cells = append(cells, rateCells(rate)...)
	}
	if p.Loss != nil {
		cells = append(cells, *p.Loss)
	}
	return cells
}

func curveSheet(r *backtest.Result) *sheet {
	s := newSheet(pointColumns(r.Costs != nil))
	for i := range r.Curve {
		s.add(pointCells(&r.Curve[i])...)
	}
	return s
}

func reasonSheet(r *backtest.Result) *sheet {
	columns := "code,step,from,points,suggested,hits,abuse,legitimate," + rateColumns("precision") + ",often_with"
	for _, d := range r.Decisions {
		columns += ",without_" + d.Decision + "_abuse,without_" + d.Decision + "_legitimate"
	}
	s := newSheet(columns)
	for _, row := range r.Reasons {
		cells := []any{row.Code, row.Step, optional(row.From), row.Points, optional(row.Suggested), row.Hits, row.Abuse, row.Legitimate}
		often := []string{}
		for _, b := range row.With {
			often = append(often, b.Code)
		}
		cells = append(append(cells, rateCells(row.Precision)...), often)
		for _, c := range row.Without {
			cells = append(cells, c.Abuse, c.Legitimate)
		}
		s.add(cells...)
	}
	return s
}

func flipSheet(r *backtest.Result) *sheet {
	s := newSheet("direction,assessment_id,occurred_at,from,to,old_score,new_score,label,reasons")
	for _, f := range r.Stricter.Examples {
		s.add("stricter", f.ID, timeText(f.At), f.From, f.To, f.OldScore, f.NewScore, f.Label, f.Reasons)
	}
	for _, f := range r.Milder.Examples {
		s.add("milder", f.ID, timeText(f.At), f.From, f.To, f.OldScore, f.NewScore, f.Label, f.Reasons)
	}
	return s
}

func moveSheet(r *backtest.Result) *sheet {
	s := newSheet("from,to,abuse,legitimate,other")
	for _, m := range r.Moves {
		s.add(m.From, m.To, m.Abuse, m.Legitimate, m.Other)
	}
	return s
}

func proposalSheet(p *backtest.Proposal, priced bool) *sheet {
	s := newSheet("decision,when," + pointColumns(priced))
	for i := range p.Thresholds {
		t := &p.Thresholds[i]
		s.add(append([]any{t.Decision, "before"}, pointCells(&t.Before)...)...)
		s.add(append([]any{t.Decision, "after"}, pointCells(&t.After)...)...)
	}
	return s
}

func shadowSheet(shadows []backtest.Shadow, table string) *sheet {
	if table == "versions" {
		s := newSheet("version,which,events,numbers,estimated,top")
		for _, v := range shadows {
			for _, side := range []struct {
				name string
				backtest.Crowd
			}{{"judged", v.Crowd}, {"stricter", v.Stricter}, {"milder", v.Milder}} {
				s.add(v.Version, side.name, side.Events, side.Numbers, side.Estimated, side.Top)
			}
		}
		return s
	}
	s := newSheet("version,from,to,abuse,legitimate,other")
	for _, v := range shadows {
		for _, m := range v.Moves {
			s.add(v.Version, m.From, m.To, m.Abuse, m.Legitimate, m.Other)
		}
	}
	return s
}

func historySheet(all *api.PolicyPage, table string) *sheet {
	if table == "changes" {
		s := newSheet("number,change,version,replaces,at,author,note")
		for _, r := range all.History {
			s.add(r.Number, r.Change, r.Version, given(r.Replaces), r.At, r.Author, r.Note)
		}
		return s
	}
	s := newSheet("version,name,state,added_at,author,note,equal_to,digest")
	for _, v := range all.Versions {
		s.add(v.Version, v.Name, v.State, v.AddedAt, v.Author, v.Note, given(v.EqualTo), v.Digest)
	}
	return s
}

// given is the number of a version, nil for none.
func given(n uint32) any {
	if n == 0 {
		return nil
	}
	return n
}
