package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/cmd/ringfence/replay"
	"github.com/ringfence/ringfence/hashing"
)

const importHelp = `Counts past events and outcomes into a data folder, so that a new installation knows what the platform has seen. Stop the server first, and import before
it serves: what is much older than what a subject already has enters totals only, and no window.

The file is NDJSON or CSV with a header, as replay takes it; .gz is unpacked, - is standard input. Lines are sorted by time and counted in event time, scored
by the policy as if they had come in live.

  {"id":"e1","occurred_at":"2026-01-02T03:04:05Z","event":"signup","phone_number":"+1 202 555 0143","account_id":"u_81"}
  {"occurred_at":"2026-01-02T03:06:00Z","outcome":"verified","for":"e1"}

An import that was cut short, also by a loss of power, is run again: what is in is not counted twice. Every event is known again for 400 days by its id, or by its
whole line where it has no id; so files may overlap. Lines that cannot be used are named by number on standard error and never repeated.

Other column names are mapped, and missing ones filled in:
  ringfence import --map phone_number=caller,occurred_at=created_at --set event=signup,default_region=US calls.csv.gz`

// importFlags are the flags of import.
type importFlags struct {
	dataFlags
	policy    string
	output    output
	columns   map[string]string
	constants map[string]string
	strict    bool
	init      bool
}

func newImport() *cobra.Command {
	f := importFlags{output: "table"}
	cmd := &cobra.Command{
		Use: "import FILE", Short: "count past events into a data folder; stop the server first", Long: importHelp, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.add(cmd)
	f.addDomain(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.policy, "policy", "", "policy file (default: the one that is live)")
	fl.VarP(&f.output, "output", "o", "table, json or ndjson")
	fl.StringToStringVar(&f.columns, "map", nil, "field=column pairs for CSV")
	fl.StringToStringVar(&f.constants, "set", nil, "field=value pairs for what events leave out")
	fl.BoolVar(&f.init, "init", false, "make the keyring and the store if they are missing")
	fl.BoolVar(&f.strict, "strict", false, "exit 3 when any line was refused")
	return cmd
}

func (f *importFlags) run(cmd *cobra.Command, path string) (err error) {
	stderr := cmd.ErrOrStderr()
	in, size, err := openSized(path, cmd.InOrStdin())
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	bar := newBar(stderr, "reading", size)
	from, err := unpack(path, io.TeeReader(in, bar))
	if err != nil {
		return err
	}
	store, hasher, err := f.open(f.init, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	policy, err := readPolicy(f.policy)
	if f.policy == "" {
		policy, err = livePolicy(cmd.Context(), store, hasher.Domain())
	}
	if err != nil {
		return err
	}
	hashing.Warm()
	late := store.LateEvents()
	report, err := replay.Import(cmd.Context(), replay.ImportConfig{
		Store: store, Hasher: hasher, Policy: policy, Now: time.Now,
		Refused: func(line int, why error) {
			_ = bar.Clear()
			_, _ = fmt.Fprintf(stderr, "ringfence: line %d refused: %v\n", line, why)
		},
		Progress: func(done, all int) { advance(bar, "importing", done, all) },
	}, replay.Input{From: from, Columns: f.columns, Constants: f.constants})
	_ = bar.Clear()
	if err != nil {
		if report != nil && report.Events+report.Outcomes > 0 {
			_, _ = fmt.Fprintf(stderr, "ringfence: %d events and %d outcomes are in; the same command goes on behind them\n", report.Events, report.Outcomes)
		}
		return err
	}
	return f.print(cmd, report, store.LateEvents()-late)
}

// imported is what import prints as JSON.
type imported struct {
	*replay.ImportReport
	Late uint64 `json:"late"` // too old for any window
}

func (f *importFlags) print(cmd *cobra.Command, r *replay.ImportReport, late uint64) error {
	err := printAs(f.output, cmd.OutOrStdout(), imported{r, late}, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "lines\t%d\nevents\t%d\noutcomes\t%d\nin before\t%d\n", r.Lines, r.Events, r.Outcomes, r.Before)
		if r.Labels > 0 {
			_, _ = fmt.Fprintf(w, "labels\t%d\tnot imported: they are for replay; say it as an outcome\n", r.Labels)
		}
		if late > 0 {
			_, _ = fmt.Fprintf(w, "late\t%d\tin totals only: too old for the windows of what was there\n", late)
		}
		_, _ = fmt.Fprintf(w, "refused\t%d\n", r.RefusedLines())
		for _, cause := range slices.Sorted(maps.Keys(r.Refused)) {
			_, _ = fmt.Fprintf(w, "  %s\t%d\n", cause, r.Refused[cause])
		}
	})
	if err == nil && f.strict && r.RefusedLines() > 0 {
		err = errNotMet
	}
	return err
}
