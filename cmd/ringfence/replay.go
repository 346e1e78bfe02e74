package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/ringfence/ringfence/cmd/ringfence/replay"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
)

// replayFlags are the flags of replay, some of which demo has too.
type replayFlags struct {
	policy    string
	output    output
	sort      bool
	lateness  time.Duration
	columns   map[string]string
	constants map[string]string
	lists     map[string]string
	region    string
	strict    bool
	seed      uint64
}

const replayHelp = `Reads events, outcomes and labels, one a line, as NDJSON or as CSV with a header; .gz is unpacked, - is standard
input. Events are counted in event time by the code that serves live, in memory; nothing is kept.

  {"id":"e1","occurred_at":"2026-01-02T03:04:05Z","event":"signup","phone_number":"+1 202 555 0143","account_id":"u_81"}
  {"occurred_at":"2026-01-02T03:06:00Z","outcome":"verified","for":"e1"}
  {"label":"abuse","for":"e1"}

Labels are compared with decisions and never counted; in CSV they may stand in a column label of the event's own
line. -o ndjson prints an assessment for every event, -o table what was decided by label. Lines that cannot be used are
named by number on standard error and never repeated.

Other column names are mapped, and missing ones filled in:
  ringfence replay --sort --map phone_number=caller,occurred_at=created_at --set event=signup,default_region=US calls.csv.gz`

func newReplay() *cobra.Command {
	f := replayFlags{output: "table"}
	cmd := &cobra.Command{
		Use: "replay FILE", Short: "score a file of past events, in event time", Long: replayHelp, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, size, err := openSized(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			defer func() { _ = in.Close() }()
			bar := newBar(cmd.ErrOrStderr(), "reading", size)
			from, err := unpack(args[0], io.TeeReader(in, bar))
			if err != nil {
				return err
			}
			return f.run(cmd, bar, replay.Input{From: from, Columns: f.columns, Constants: f.constants})
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.policy, "policy", "", "policy file (default: the embedded policy)")
	fl.VarP(&f.output, "output", "o", "table or ndjson")
	f.addInput(fl)
	fl.BoolVar(&f.strict, "strict", false, "exit 3 when any line was refused")
	fl.Uint64Var(&f.seed, "seed", 1, "decides who is held out, where the policy has a holdout")
	return cmd
}

// addInput adds the flags that say how to read a file.
func (f *replayFlags) addInput(fl *pflag.FlagSet) {
	fl.BoolVar(&f.sort, "sort", false, "apply lines in the order of their times")
	fl.DurationVar(&f.lateness, "max-lateness", time.Minute, "without --sort: refuse lines that happened longer before the newest one above them")
	fl.StringToStringVar(&f.columns, "map", nil, "field=column pairs for CSV")
	fl.StringToStringVar(&f.constants, "set", nil, "field=value pairs for what events leave out")
	fl.StringToStringVar(&f.lists, "list", nil, "name=file pairs of lists to load first, as lists import takes them")
	fl.StringVar(&f.region, "list-region", "", "default region of listed numbers without a country code")
}

// run replays an input on a new store in memory.
func (f *replayFlags) run(cmd *cobra.Command, bar *progressbar.ProgressBar, in replay.Input) (err error) {
	if f.lateness < 0 {
		return usage("--max-lateness cannot be less than 0")
	}
	policy, err := readPolicy(f.policy)
	if err != nil {
		return err
	}
	store, hasher, err := openScratch(f.seed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	stderr := cmd.ErrOrStderr()
	hashing.Warm()
	if err := f.loadLists(cmd, store, hasher); err != nil {
		return err
	}
	cfg := replay.Config{
		Store: store, Hasher: hasher, Policy: policy, Sort: f.sort, MaxLateness: f.lateness,
		Refused: func(line int, why error) {
			_ = bar.Clear()
			_, _ = fmt.Fprintf(stderr, "ringfence: line %d refused: %v\n", line, why)
		},
		Progress: func(done, all int) { advance(bar, "scoring", done, all) },
	}
	if f.output == "ndjson" {
		cfg.Assessments = cmd.OutOrStdout()
	}
	report, err := replay.Run(cmd.Context(), cfg, in)
	_ = bar.Clear()
	if err != nil {
		return err
	}
	return f.print(cmd, report)
}

func (f *replayFlags) print(cmd *cobra.Command, report *replay.Report) error {
	account, table := cmd.OutOrStdout(), cmd.OutOrStdout()
	if f.output == "ndjson" {
		account, table = cmd.ErrOrStderr(), nil
	}
	err := report.WriteAccount(account)
	if err == nil && table != nil {
		_, _ = fmt.Fprintln(table)
		err = report.WriteTable(table)
	}
	if err == nil && f.strict && report.RefusedLines() > 0 {
		err = errNotMet
	}
	return err
}

// loadLists puts entries on lists before anything happens: the clock of a store goes forward only, and by one of today events of a year
// ago would be of numbers that are long forgotten.
func (f *replayFlags) loadLists(cmd *cobra.Command, store *pebblestore.Store, hasher *hashing.Hasher) error {
	for _, name := range slices.Sorted(maps.Keys(f.lists)) {
		in, err := openInput(f.lists[name], cmd.InOrStdin())
		if err != nil {
			return err
		}
		i := &listImport{store: store, hasher: hasher, added: 1, list: name, region: f.region, stderr: cmd.ErrOrStderr(), refused: map[string]int{}}
		if err := errors.Join(i.run(cmd.Context(), in), in.Close()); err != nil {
			return err
		}
		if f.strict && len(i.refused) > 0 {
			return errNotMet
		}
	}
	return nil
}

// openScratch opens a store in memory for one run. Its keys come from the seed,
// so that a run can be repeated to the byte: estimates of distinct counts
// depend on pseudonyms. That is no secret, and need not be: no pseudonym leaves the
// process.
func openScratch(seed uint64) (*pebblestore.Store, *hashing.Hasher, error) {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i)) //nolint:gosec // one byte after the other
	}
	random := rand.NewChaCha8(key)
	ring, err := hashing.NewKeyring(random, time.Unix(0, 0))
	if err != nil {
		return nil, nil, err
	}
	hasher, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	store, err := pebblestore.OpenMemory(pebblestore.Options{Keys: ring.KeyChecks(), Random: func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return random.Uint64()
	}})
	return store, hasher, err
}

// newBar returns a progress bar, which shows itself on a terminal only. all is
// below zero when nobody knows.
func newBar(stderr io.Writer, what string, all int64) *progressbar.ProgressBar {
	file, ok := stderr.(*os.File)
	shown := ok && term.IsTerminal(int(file.Fd()))
	return progressbar.NewOptions64(all,
		progressbar.OptionSetWriter(stderr), progressbar.OptionSetVisibility(shown),
		progressbar.OptionSetDescription(what), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionShowIts(), progressbar.OptionSetElapsedTime(true), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
}

// advance moves the bar within its second half.
func advance(bar *progressbar.ProgressBar, what string, done, all int) {
	if done == 1 {
		bar.Reset()
		bar.ChangeMax(cmp.Or(all, 1))
		bar.Describe(what)
	}
	if done%1000 == 0 || done == all {
		_ = bar.Set(done)
	}
}
