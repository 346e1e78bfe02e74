package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

const labelsHelp = `Reads outcomes of earlier assessments, one a line, as NDJSON or as CSV with a header; .gz is unpacked, - is standard input. Stop the
server first: one that runs takes outcomes as POST /v1/outcomes.

  {"assessment_id":"00362001uo0rh4mll0286fg05o","outcome":"abuse","source":"chargeback","occurred_at":"2026-01-09T12:00:00Z"}

In place of assessment_id, phone_token may name a number, as answers do: abuse or legitimate then goes to each of its events up to
occurred_at, not more than the 1,000 newest, and none from before the number was released. Verified and unverified are about one event.

outcome is abuse, legitimate, verified or unverified. source is a short code. occurred_at is when it became known; without it, now. An
outcome counts as if it had come over HTTP; the same one again changes nothing, so that a file can be read twice.`

func newLabels() *cobra.Command {
	labels := &cobra.Command{Use: "labels", Short: "tell what became of assessed events"}
	var f dataFlags
	var source string
	var strict bool
	load := &cobra.Command{
		Use: "import FILE", Short: "read outcomes from a file; stop the server first", Long: labelsHelp, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !engine.CheckCode(source) {
				return usage("--source takes a short code such as chargeback")
			}
			in, err := openInput(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			defer func() { _ = in.Close() }()
			store, hasher, err := f.open(false, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			i := &labelImport{store: store, hasher: hasher, domain: hasher.Domain(), now: time.Now().Unix(), source: source, stderr: cmd.ErrOrStderr(), refused: map[string]int{}}
			policy, err := livePolicy(cmd.Context(), store, i.domain)
			if err == nil {
				i.maxLinks, _ = policy.AccountsPerPhone()
				err = i.run(cmd.Context(), in)
			}
			if i.changed > 0 { // what came before an error stays
				err = errors.Join(err, f.noteDown(f.ring, "labels.import", "", fmt.Sprintf("%d lines changed outcomes, of %d", i.changed, i.read)))
			}
			err = errors.Join(err, store.Close())
			if err == nil && strict && len(i.refused) > 0 {
				err = errNotMet
			}
			return err
		},
	}
	f.add(load)
	f.addDomain(load)
	load.Flags().StringVar(&source, "source", "", "who says so, where a line does not: a short code")
	load.Flags().BoolVar(&strict, "strict", false, "exit 3 when any line was refused")
	labels.AddCommand(load)
	return labels
}

// livePolicy returns the policy that is live in a store, the embedded one where there is none.
func livePolicy(ctx context.Context, store *pebblestore.Store, domain hashing.DomainID) (*scoring.Policy, error) {
	state, err := store.PolicyState(ctx, domain)
	if err != nil {
		return nil, err
	}
	if state.Live == 0 {
		return scoring.Default(), nil
	}
	v, err := store.Policy(ctx, domain, state.Live)
	if err != nil {
		return nil, err
	}
	return scoring.Compile(v.Source)
}

// labelImport tells a store what became of events.
type labelImport struct {
	store    *pebblestore.Store
	hasher   *hashing.Hasher
	domain   hashing.DomainID
	now      int64 // unix seconds
	maxLinks int   // of the policy in force
	source   string
	stderr   io.Writer

	line, read, changed int
	refused             map[string]int // by cause
}

// labelLine is a line of the file.
type labelLine struct {
	AssessmentID string `json:"assessment_id"`
	PhoneToken   string `json:"phone_token"`
	Outcome      string `json:"outcome"`
	Source       string `json:"source"`
	OccurredAt   string `json:"occurred_at"`
}

func (l *labelLine) fields() map[string]*string {
	return map[string]*string{"assessment_id": &l.AssessmentID, "phone_token": &l.PhoneToken, "outcome": &l.Outcome, "source": &l.Source, "occurred_at": &l.OccurredAt}
}

// Why a line is refused. Nothing of it is repeated.
var (
	errLabelForm    = errors.New("not a line of this form; see ringfence labels import --help")
	errLabelOutcome = errors.New("outcome has to be abuse, legitimate, verified or unverified")
	errLabelSource  = errors.New("source has to be a short code such as chargeback")
	errLabelOne     = errors.New("either assessment_id or phone_token says what the outcome is of")
	errLabelNumber  = errors.New("by phone_token, outcome has to be abuse or legitimate")
	errLabelNothing = errors.New("no event of this number by then")
	errLabelTime    = errors.New("occurred_at has to be a time such as 2026-01-02T03:04:05Z, not in the future")
)

func (i *labelImport) run(ctx context.Context, in io.Reader) error {
	b := bufio.NewReaderSize(in, 1<<16)
	read := i.csv
	if first, err := b.Peek(1); err == nil && first[0] == '{' {
		read = i.ndjson
	}
	if err := read(ctx, b); err != nil {
		return err
	}
	refused := 0
	for _, n := range i.refused {
		refused += n
	}
	_, err := fmt.Fprintf(i.stderr, "ringfence: %d read, %d changed something, %d refused\n", i.read, i.changed, refused)
	for _, cause := range slices.Sorted(maps.Keys(i.refused)) {
		_, _ = fmt.Fprintf(i.stderr, "  %6d %s\n", i.refused[cause], cause)
	}
	return err
}

func (i *labelImport) ndjson(ctx context.Context, b *bufio.Reader) error {
	s := bufio.NewScanner(b)
	for s.Scan() {
		i.line++
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		var l labelLine
		if err := i.take(ctx, &l, intake.Decode(s.Bytes(), &l)); err != nil {
			return err
		}
	}
	if s.Err() != nil {
		return fmt.Errorf("behind line %d: cannot read on, or a line that is too long", i.line)
	}
	return nil
}

func (i *labelImport) csv(ctx context.Context, b *bufio.Reader) error {
	c := csv.NewReader(b)
	header, err := c.Read()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil || !slices.Contains(header, "assessment_id") && !slices.Contains(header, "phone_token") || !slices.Contains(header, "outcome") {
		return errors.New("line 1: this is no header with assessment_id or phone_token, and outcome")
	}
	for {
		cells, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var malformed *csv.ParseError
		if err != nil && !errors.As(err, &malformed) {
			return fmt.Errorf("behind line %d: cannot read on", i.line)
		}
		var l labelLine
		if malformed != nil {
			i.line, err = malformed.StartLine, errLabelForm
		} else {
			i.line, _ = c.FieldPos(0)
			for at, name := range header {
				if field := l.fields()[name]; field != nil {
					*field = cells[at]
				}
			}
		}
		if err := i.take(ctx, &l, err); err != nil {
			return err
		}
	}
}

// take records what a line says, or refuses the line. An error is one that ends the import.
func (i *labelImport) take(ctx context.Context, l *labelLine, bad error) error {
	i.read++
	var o *engine.Outcome
	var ids []engine.EventID
	if bad == nil {
		o, bad = i.outcome(l)
	}
	if bad == nil {
		ids, bad = i.events(ctx, l, o)
	}
	changed := false
	for _, id := range ids {
		if bad != nil {
			break
		}
		o.Event = id
		if bad = i.store.RecordOutcome(ctx, o); bad == nil {
			changed = changed || o.Changed
		}
	}
	if changed {
		i.changed++
	}
	if bad == nil || ctx.Err() != nil || !refusedLabel(bad) {
		return bad
	}
	i.refused[bad.Error()]++
	_, err := fmt.Fprintf(i.stderr, "ringfence: line %d refused: %v\n", i.line, bad)
	return err
}

// refusedLabel tells a line that is wrong from a store that is.
func refusedLabel(err error) bool {
	for _, cause := range []error{
		errLabelForm, errLabelOutcome, errLabelSource, errLabelOne, errLabelNumber, errLabelNothing, errLabelTime,
		engine.ErrUnknownEvent, record.ErrEventID, hashing.ErrToken,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	var fields intake.Fields
	var broken *intake.NotJSON
	return errors.As(err, &fields) || errors.As(err, &broken)
}

// mostLabelled bounds how many events one line is about.
const mostLabelled = 1000

// events returns what a line is about.
func (i *labelImport) events(ctx context.Context, l *labelLine, o *engine.Outcome) ([]engine.EventID, error) {
	switch {
	case (l.AssessmentID == "") == (l.PhoneToken == ""):
		return nil, errLabelOne
	case l.PhoneToken == "":
		id, err := record.ParseEventID(l.AssessmentID)
		return []engine.EventID{id}, err
	case o.Kind != scoring.Abuse && o.Kind != scoring.Legitimate:
		return nil, errLabelNumber
	}
	phone, err := i.hasher.Token(l.PhoneToken)
	if err != nil || phone.Kind != hashing.Phone {
		return nil, hashing.ErrToken
	}
	timeline, err := i.store.Timeline(ctx, i.domain, phone, mostLabelled)
	if err != nil {
		return nil, err
	}
	var ids []engine.EventID
	for _, e := range timeline {
		if e.Time <= o.Time {
			ids = append(ids, e.ID)
		}
	}
	if ids == nil {
		return nil, errLabelNothing
	}
	return ids, nil
}

func (i *labelImport) outcome(l *labelLine) (*engine.Outcome, error) {
	kind, ok := scoring.ParseEvent(l.Outcome)
	if !ok || !kind.Outcome() {
		return nil, errLabelOutcome
	}
	o := &engine.Outcome{Domain: i.domain, Kind: kind, Source: l.Source, Time: i.now, Now: i.now, MaxLinks: i.maxLinks}
	if o.Source == "" {
		o.Source = i.source
	}
	if !engine.CheckCode(o.Source) {
		return nil, errLabelSource
	}
	if l.OccurredAt != "" {
		at, err := time.Parse(time.RFC3339, l.OccurredAt)
		if err != nil || at.Unix() > i.now || at.Year() < 2020 {
			return nil, errLabelTime
		}
		o.Time = at.Unix()
	}
	return o, nil
}
