package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api/audit"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

const labelsHelp = `Reads outcomes of earlier assessments, one a line, as NDJSON or as CSV with a header; .gz is unpacked, - is standard input. A
server that has the data folder open reads them itself, while it answers.

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
		Use: "import FILE", Short: "read outcomes from a file", Long: labelsHelp, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !engine.CheckCode(source) {
				return usage("--source takes a short code such as chargeback")
			}
			in, err := openInput(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			defer func() { _ = in.Close() }()
			report, err := f.importLabels(cmd.Context(), in, source, func(line string) {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "ringfence: %s\n", line)
			})
			if err != nil {
				return err
			}
			report.print(cmd.ErrOrStderr())
			if strict && len(report.Refused) > 0 {
				return errNotMet
			}
			return nil
		},
	}
	f.add(load)
	f.addDomain(load)
	load.Flags().StringVar(&source, "source", "", "who says so, where a line does not: a short code")
	load.Flags().BoolVar(&strict, "strict", false, "exit 3 when any line was refused")
	labels.AddCommand(load)
	return labels
}

// importLabels reads outcomes into the data folder: here, or in the server that has it open. told hears of lines that are refused.
func (f *dataFlags) importLabels(ctx context.Context, in io.Reader, source string, told func(string)) (*labelReport, error) {
	store, hasher, err := f.open(false, slog.New(slog.DiscardHandler))
	if errors.Is(err, engine.ErrLocked) {
		return f.sendLabels(ctx, in, source, told)
	}
	if err != nil {
		return nil, err
	}
	report, err := readLabels(ctx, store, hasher, in, source, told)
	if report.Changed > 0 { // what came before an error stays
		err = errors.Join(err, f.noteDown(f.ring, "labels.import", "", report.noted()))
	}
	return report, errors.Join(err, store.Close())
}

// sendLabels has the server that has the data folder open read outcomes.
func (f *dataFlags) sendLabels(ctx context.Context, in io.Reader, source string, told func(string)) (*labelReport, error) {
	file := &sentFile{Reader: in}
	answer, err := f.askServer(ctx, job{Do: "labels", Domain: f.domain, Source: source}, file)
	switch {
	case file.broken.Load():
		return nil, errors.New("cannot read the file on; the server has what came before")
	case errors.Is(err, errCutOff) && file.begun.Load():
		return nil, errors.New("the server ended amid the file, and has what came before; import the file again, which counts nothing twice")
	}
	report := new(labelReport)
	if raw, ok := answer.(json.RawMessage); ok {
		err = errors.Join(err, json.Unmarshal(raw, report))
	}
	for _, line := range report.Lines {
		told(line)
	}
	return report, err
}

// sentFile knows whether it was read at all, and could be to its end.
type sentFile struct {
	io.Reader
	begun, broken atomic.Bool
}

func (f *sentFile) Read(b []byte) (int, error) {
	f.begun.Store(true)
	n, err := f.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		f.broken.Store(true)
	}
	return n, err
}

// serveLabels reads outcomes that sendLabels sent.
func serveLabels(ctx context.Context, store *pebblestore.Store, ring *hashing.Keyring, trail *audit.Log, j job, file io.Reader) (*labelReport, error) {
	hasher, err := ring.Domain(cmp.Or(j.Domain, hashing.DefaultDomain))
	if err != nil {
		return nil, err
	}
	if !engine.CheckCode(j.Source) {
		return nil, errJob
	}
	var lines []string
	report, err := readLabels(ctx, store, hasher, file, j.Source, func(line string) {
		if len(lines) < maxRefusals {
			lines = append(lines, line)
		}
	})
	report.Lines = lines
	if report.Changed > 0 { // what came before an error stays
		err = errors.Join(err, trail.Append(byHand("labels.import", "", "", report.noted())))
	}
	return report, err
}

// labelReport is what became of the lines of a file.
type labelReport struct {
	Read    int            `json:"read"`
	Changed int            `json:"changed"` // that changed something
	Refused map[string]int `json:"refused"` // by cause
	Lines   []string       `json:"lines"`   // why lines were refused, the first ones, where a server read them
}

// maxRefusals is how many lines a server tells to be refused. All are counted by their cause.
const maxRefusals = 1000

func (r *labelReport) noted() string {
	return fmt.Sprintf("%d lines changed outcomes, of %d", r.Changed, r.Read)
}

func (r *labelReport) print(w io.Writer) {
	refused := 0
	for _, n := range r.Refused {
		refused += n
	}
	_, _ = fmt.Fprintf(w, "ringfence: %d read, %d changed something, %d refused\n", r.Read, r.Changed, refused)
	for _, cause := range slices.Sorted(maps.Keys(r.Refused)) {
		_, _ = fmt.Fprintf(w, "  %6d %s\n", r.Refused[cause], cause)
	}
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
	maxLinks int // of the policy in force
	source   string
	told     func(string)

	line   int
	report labelReport
}

// readLabels reads outcomes into a store. What came before an error stays.
func readLabels(ctx context.Context, store *pebblestore.Store, hasher *hashing.Hasher, in io.Reader, source string, told func(string)) (*labelReport, error) {
	i := &labelImport{
		store: store, hasher: hasher, domain: hasher.Domain(), source: source, told: told,
		report: labelReport{Refused: map[string]int{}},
	}
	policy, err := livePolicy(ctx, store, i.domain)
	if err == nil {
		i.maxLinks, _ = policy.AccountsPerPhone()
		err = errors.Join(i.run(ctx, in), store.Durable(context.WithoutCancel(ctx)))
	}
	return &i.report, err
}

// labelsTogether is how many lines that change something wait together for the disk.
const labelsTogether = 512

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
	return read(ctx, b)
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
	i.report.Read++
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
		if i.report.Changed++; i.report.Changed%labelsTogether == 0 && bad == nil {
			bad = i.store.Durable(ctx)
		}
	}
	if bad == nil || ctx.Err() != nil || !refusedLabel(bad) {
		return bad
	}
	i.report.Refused[bad.Error()]++
	i.told(fmt.Sprintf("line %d refused: %v", i.line, bad))
	return nil
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
	now := time.Now().Unix()
	o := &engine.Outcome{Domain: i.domain, Kind: kind, Source: l.Source, Time: now, Now: now, MaxLinks: i.maxLinks, Later: true}
	if o.Source == "" {
		o.Source = i.source
	}
	if !engine.CheckCode(o.Source) {
		return nil, errLabelSource
	}
	if l.OccurredAt != "" {
		at, err := time.Parse(time.RFC3339, l.OccurredAt)
		if err != nil || at.Unix() > now || at.Year() < 2020 {
			return nil, errLabelTime
		}
		o.Time = at.Unix()
	}
	return o, nil
}
