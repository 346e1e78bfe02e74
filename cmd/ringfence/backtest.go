package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/cmd/ringfence/replay"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
	"github.com/ringfence/ringfence/scoring/backtest"
)

// backtestFlags say what to try on what.
type backtestFlags struct {
	data     dataFlags
	running  bool        // the past is that of a server
	client   clientFlags // to ask it
	in       replayFlags // of a file; policy and seed, too
	base     string
	mode     string
	maturity time.Duration
	from     string
	to       string
	asOf     string
	examples int
	output   output
	table    string
	page     string
	costFP   float64 // 0 with costFN: costs do not matter
	costFN   float64
}

const backtestHelp = `Says what a policy would have decided about the past. Without FILE, about the log of a data folder that no server has open, or with
--running about that of a server, which does the work; with FILE, about a file of events, outcomes and labels as replay reads them, counted by
--base first, which keeps all of it in memory: import a long file into a data folder, and test that.

rescore judges the values that were logged with every event. A signal that was not recorded cannot be tried so: those events are left
out and counted. replay counts all over again from the events, so that new signals and windows can be tried.

An event that would be decided otherwise is shown with the reasons whose points changed ("CODE +30 was +10") or, where none did, with all that make
up its score ("CODE +30").

What replay cannot know: a log whose first events have left (after 90 days, or by store purge) counts too little at its beginning, which
--from leaves out; and when outcomes of before the data folder's format 4 were told, and what they replaced. See ringfence docs tuning.

  ringfence backtest --policy new.yaml --maturity 336h            the data folder
  ringfence backtest --policy new.yaml --mode replay events.ndjson a file, with other signals
  ringfence backtest --policy new.yaml --out report.html          a page with plots that opens offline
  ringfence backtest --policy new.yaml --cost-fp 20 --cost-fn 1   what each threshold costs, and which is the cheapest

While a server has the folder open, have it do the test (POST /v1/backtests), or write a backup, and test that:

  ringfence backtest --running --policy new.yaml
  ringfence store backup past
  ringfence backtest --data past --keyring .ringfence/keyring.json --policy new.yaml

-o json prints the result, -o csv a line for every threshold, -o ndjson a line for every event. Shares come with intervals at 95 %.
With --table, csv and ndjson have a line for every threshold (curve), reason (reasons), example of a flip (flips, see --examples) or kind of
decision before and after (moves).
A line of ndjson has all that the figures are made of: what was decided and why (was, was_score, was_by, was_reasons), what would have been
(decision, score, by, reasons), the label, whether it counts (state) and for how many (weight), and the number's token, or of a FILE only which
number of it. by is the list or limit that decides whatever the score. At a threshold, events are acted on whose level is as high.
Nothing changes: a policy is in force only once somebody puts it there.`

func newBacktest() *cobra.Command {
	f := backtestFlags{output: "table"}
	cmd := &cobra.Command{
		Use: "backtest [FILE]", Short: "say what a policy would have decided about the past", Long: backtestHelp, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.checkTable(); err != nil {
				return err
			}
			return f.with(cmd, args, func(past *past) error {
				if f.table == "events" {
					past.cfg.Each = eventPrinter(cmd.OutOrStdout(), past)
				}
				result, err := past.run(cmd.Context(), past.policy)
				if err != nil {
					return err
				}
				if err := f.writePage(result); err != nil {
					return err
				}
				return printBacktest(cmd.OutOrStdout(), result, f.output, f.table)
			})
		},
	}
	f.add(cmd)
	addSheets(cmd, &f.output, &f.table, "curve", "events", "reasons", "flips", "moves")
	cmd.Flag("table").Usage = "what -o csv and ndjson have a line for: curve, events (ndjson only), reasons, flips or moves (default: of csv curve, of ndjson events)"
	return cmd
}

func (f *backtestFlags) checkTable() error {
	_, err := isSheet(f.output, f.table)
	switch {
	case err != nil:
	case f.output == "csv" && f.table == "events":
		return usage("--table events is for -o ndjson: an event has more in it than a line of csv")
	case f.output == "ndjson" && f.table == "":
		f.table = "events"
	}
	return err
}

func (f *backtestFlags) add(cmd *cobra.Command) {
	f.data.add(cmd)
	f.data.addDomain(cmd)
	f.client.addServer(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&f.running, "running", false, "ask the server that runs (--server) about its log, instead of opening a data folder")
	f.in.addInput(fl)
	fl.StringVar(&f.in.policy, "policy", "", "the policy file to try (default: the one that is live in the data folder or the server; with FILE, the embedded policy)")
	fl.StringVar(&f.base, "base", "", "with FILE: the policy file that decides while it is counted (default: the embedded policy)")
	fl.StringVar(&f.mode, "mode", "rescore", "rescore or replay")
	fl.DurationVar(&f.maturity, "maturity", 0, "how old an event has to be for its label to count, such as 336h")
	fl.StringVar(&f.from, "from", "", "leave out events before this day or time, in UTC (2026-01-02 or 2026-01-02T03:04:05Z)")
	fl.StringVar(&f.to, "to", "", "leave out events from this day or time on")
	fl.StringVar(&f.asOf, "as-of", "", "when the test takes place, for --maturity (default: now; with FILE, the newest event)")
	fl.IntVar(&f.examples, "examples", 10, "how many flips to show in each direction")
	fl.Uint64Var(&f.in.seed, "seed", 1, "chooses the examples and, with FILE, who is held out")
	fl.StringVar(&f.page, "out", "", "write a page with plots to this file, too")
	fl.Float64Var(&f.costFP, "cost-fp", 0, "what acting on a legitimate event costs, in any unit")
	fl.Float64Var(&f.costFN, "cost-fn", 0, "what letting abuse go costs, in the same unit")
}

// past is a log to try policies on.
type past struct {
	store  *pebblestore.Store // nil where the past is that of a server
	server *clientFlags       // that server
	stderr io.Writer
	domain hashing.DomainID
	mode   string
	policy *scoring.Policy // the one to try
	file   string          // where it is from, "" for none
	lines  []int           // of a file: where each event stands, in the order of the log
	place  record.Seq      // of a file: the number of the event that is read, in the store
	cfg    backtest.Config
	costFP float64 // 0 with costFN: costs do not matter
	costFN float64
}

// log reads the store. The events of a file get the line that they stand on for an id, since those of the
// store tell when the file was read, and the same file has to give the same result.
func (p *past) log(ctx context.Context, fn func(*record.Entry) error) error {
	i := 0
	return p.store.Scan(ctx, p.domain, engine.EventID{}, func(e *record.Entry) error {
		if p.lines != nil {
			p.place = e.ID.Seq()
			e.ID = record.NewEventID(record.Seq(p.lines[i]), binary.BigEndian.Uint64(e.ID[8:])) //nolint:gosec // no line is below zero
			i++
		}
		return fn(e)
	})
}

// name is what an event is called in what is printed.
func (p *past) name(id string) string {
	parsed, err := record.ParseEventID(id)
	if p.lines == nil || err != nil {
		return id
	}
	return fmt.Sprintf("line %d", parsed.Seq())
}

// phones returns what names the number of an event. Those of a file are counted: its pseudonyms hide nothing, see openScratch.
func (p *past) phones() func(hashing.Subject) string {
	met := map[hashing.Subject]string{}
	return func(s hashing.Subject) string {
		if p.lines == nil || !s.Given() {
			return s.Token()
		}
		if met[s] == "" {
			met[s] = fmt.Sprintf("number %d", len(met)+1)
		}
		return met[s]
	}
}

// run tries a policy.
func (p *past) run(ctx context.Context, policy *scoring.Policy) (*backtest.Result, error) {
	r, err := p.try(ctx, policy)
	if err != nil {
		return nil, err
	}
	r.Stale = r.Stale || p.edited()
	if p.costFP > 0 {
		r.Price(p.costFP, p.costFN)
	}
	r.First, r.Last = p.name(r.First), p.name(r.Last)
	for _, side := range []*backtest.Side{&r.Stricter, &r.Milder} {
		for i := range side.Examples {
			side.Examples[i].ID = p.name(side.Examples[i].ID)
		}
	}
	return r, nil
}

func (p *past) try(ctx context.Context, policy *scoring.Policy) (*backtest.Result, error) {
	if p.server != nil {
		return p.askServer(ctx, policy)
	}
	cfg := p.cfg
	cfg.Policy = policy
	if p.mode == "replay" {
		return backtest.Replay(ctx, cfg)
	}
	return backtest.Rescore(ctx, cfg)
}

// edited reports whether the file of the policy is no longer what it was when the test began.
func (p *past) edited() bool {
	if p.file == "" {
		return false
	}
	now, err := os.ReadFile(p.file)
	return err != nil || !bytes.Equal(now, p.policy.Source())
}

// with opens the past, and closes it when do is done.
func (f *backtestFlags) with(cmd *cobra.Command, args []string, do func(*past) error) error {
	p := &past{mode: f.mode, file: f.in.policy, costFP: f.costFP, costFN: f.costFN, stderr: cmd.ErrOrStderr()}
	if err := f.check(p); err != nil {
		return err
	}
	for _, name := range ofAServer {
		if !f.running && cmd.Flag(name).Changed {
			return usage("--" + name + " is for --running, which asks a server")
		}
	}
	var err error
	if p.policy, err = readPolicy(f.in.policy); err != nil {
		return err
	}
	switch {
	case f.running:
		err = f.openServer(cmd, args, p)
	case len(args) > 0:
		err = f.openFile(cmd, args[0], p)
	default:
		err = f.openData(cmd.Context(), p)
	}
	if err != nil {
		return err
	}
	if p.store == nil {
		return do(p)
	}
	p.cfg.Log, p.cfg.KeepSubjects = p.log, p.store.Retention().Subjects
	p.cfg.Source = func(ctx context.Context, version uint32) ([]byte, bool, error) {
		return p.store.PolicySource(ctx, p.domain, version)
	}
	bar := newBar(cmd.ErrOrStderr(), "judging", -1)
	p.cfg.Progress = func(n uint64) { _ = bar.Set64(int64(n)) } //nolint:gosec // no log is that long
	err = errors.Join(do(p), p.store.Close())
	_ = bar.Clear()
	return err
}

func (f *backtestFlags) check(p *past) error {
	if f.mode != "rescore" && f.mode != "replay" {
		return usage("--mode takes rescore or replay")
	}
	if f.maturity < 0 || f.examples < 0 || f.examples > 1000 || f.in.lateness < 0 {
		return usage("--maturity and --max-lateness take 0 or more, --examples 0 to 1000")
	}
	if err := f.checkCosts(); err != nil {
		return err
	}
	p.cfg = backtest.Config{Maturity: f.maturity, Seed: f.in.seed, Examples: f.examples}
	for _, flag := range []struct {
		text string
		into *int64
	}{{f.from, &p.cfg.From}, {f.to, &p.cfg.To}, {f.asOf, &p.cfg.AsOf}} {
		at, err := parseDay(flag.text)
		if err != nil {
			return err
		}
		*flag.into = at
	}
	return nil
}

func (f *backtestFlags) checkCosts() error {
	switch {
	case f.costFP > 0 != (f.costFN > 0):
		return usage("--cost-fp and --cost-fn belong together")
	case !backtest.Priceable(f.costFP, f.costFN):
		return usage("--cost-fp and --cost-fn take 0 to 1e12")
	}
	return nil
}

// parseDay reads a day or a time into unix seconds; "" is 0.
func parseDay(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		at, err = time.Parse(time.RFC3339, text)
	}
	if err != nil {
		return 0, usage("--from, --to and --as-of take a day such as 2026-01-02 or a time such as 2026-01-02T03:04:05Z")
	}
	return at.Unix(), nil
}

// openData opens a data folder.
func (f *backtestFlags) openData(ctx context.Context, p *past) error {
	store, hasher, err := f.data.open(false, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	p.store, p.domain = store, hasher.Domain()
	p.cfg.AsOf = cmp.Or(p.cfg.AsOf, time.Now().Unix())
	if f.in.policy == "" {
		if p.policy, err = livePolicy(ctx, store, p.domain); err != nil {
			return errors.Join(err, store.Close())
		}
	}
	return nil
}

// openFile counts a file into a new store in memory. Its labels stay beside the store.
func (f *backtestFlags) openFile(cmd *cobra.Command, path string, p *past) (err error) {
	base, err := readPolicy(f.base)
	if err != nil {
		return err
	}
	in, size, err := openSized(path, cmd.InOrStdin())
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	bar := newBar(cmd.ErrOrStderr(), "reading", size)
	from, err := unpack(path, io.TeeReader(in, bar))
	if err != nil {
		return err
	}
	store, hasher, err := openScratch(f.in.seed)
	if err != nil {
		return err
	}
	hashing.Warm()
	p.store, p.domain = store, hasher.Domain()
	if err = f.in.loadLists(cmd, store, hasher); err == nil {
		err = f.count(cmd, bar, from, base, hasher, p)
	}
	_ = bar.Clear()
	if err != nil {
		return errors.Join(err, store.Close())
	}
	return nil
}

// count assesses the events of a file by a policy, and keeps their labels.
func (f *backtestFlags) count(cmd *cobra.Command, bar *progressbar.ProgressBar, from io.Reader, base *scoring.Policy, hasher *hashing.Hasher, p *past) error {
	labels := map[record.Seq]scoring.Event{}
	p.lines = []int{}
	newest := int64(0)
	stderr := cmd.ErrOrStderr()
	report, err := replay.Run(cmd.Context(), replay.Config{
		Store: p.store, Hasher: hasher, Policy: base, Sort: f.in.sort, MaxLateness: f.in.lateness,
		Assessed: func(line int, ev *engine.Event, label scoring.Event) {
			newest = max(newest, ev.Time)
			p.lines = append(p.lines, line)
			if label != 0 {
				labels[record.Seq(line)] = label //nolint:gosec // no line is below zero
			}
		},
		Refused: func(line int, why error) {
			_ = bar.Clear()
			_, _ = fmt.Fprintf(stderr, "ringfence: line %d refused: %v\n", line, why)
		},
		Progress: func(done, all int) { advance(bar, "counting", done, all) },
	}, replay.Input{From: from, Columns: f.in.columns, Constants: f.in.constants})
	if err != nil {
		return err
	}
	if n := report.RefusedLines(); n > 0 {
		_, _ = fmt.Fprintf(stderr, "ringfence: %d of %d lines refused\n", n, report.Lines)
	}
	p.cfg.AsOf = cmp.Or(p.cfg.AsOf, newest)
	p.cfg.Place = func(*record.Entry) record.Seq { return p.place }
	p.cfg.Label = func(e *record.Entry) scoring.Event {
		return cmp.Or(labels[e.ID.Seq()], e.Outcome(scoring.Abuse).Kind)
	}
	return nil
}
