package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/hashing"
)

// clientFlags are the flags of every command that asks a running server.
type clientFlags struct {
	server  string
	output  output
	keyFile string
	caFile  string

	asks *api.Client // made before the command runs
}

func (f *clientFlags) add(cmd *cobra.Command) {
	f.output = "table"
	cmd.Flags().VarP(&f.output, "output", "o", "table, json or ndjson")
	f.addServer(cmd)
}

// addServer adds the flags that say how to reach the server.
func (f *clientFlags) addServer(cmd *cobra.Command) {
	textSetting(cmd.Flags(), &f.server, "server")
	cmd.Flags().StringVar(&f.keyFile, "key-file", "", "file with the key to show to the server, which only its owner may read")
	cmd.Flags().StringVar(&f.caFile, "ca-file", "", "authorities to know the server by, in PEM (default: those of the system)")
	cmd.PreRunE = func(*cobra.Command, []string) error { return f.prepare() }
}

// prepare reads what the client needs. Keys come from files only: other programs see the command line and the environment.
func (f *clientFlags) prepare() error {
	f.asks = &api.Client{BaseURL: f.server}
	if f.keyFile != "" {
		key, err := hashing.ReadSecret(f.keyFile, 1<<10)
		if err != nil {
			return fmt.Errorf("--key-file: %w", err)
		}
		f.asks.Key = strings.TrimSpace(string(key))
	}
	if f.caFile == "" {
		return nil
	}
	pem, err := os.ReadFile(f.caFile)
	if err != nil {
		return fmt.Errorf("--ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return errors.New("--ca-file: no certificate in PEM is in the file")
	}
	f.asks.HTTP = &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // it could carry a number elsewhere
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}, ForceAttemptHTTP2: true},
	}
	return nil
}

func (f *clientFlags) client() *api.Client { return f.asks }

// print writes an answer as JSON, or as a table that fill writes.
func (f *clientFlags) print(w io.Writer, answer any, fill func(io.Writer)) error {
	return printAs(f.output, w, answer, fill)
}

// printAs prints data as JSON, or as a table that fill writes.
func printAs(form output, w io.Writer, answer any, fill func(io.Writer)) error {
	if form != "table" {
		e := json.NewEncoder(w)
		if form == "json" {
			e.SetIndent("", "  ")
		}
		return e.Encode(answer)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fill(t)
	return t.Flush()
}

// explained tells an answer of the server from a server that cannot be reached.
func explained(err error) error {
	var answered *api.Error
	if err == nil || errors.As(err, &answered) {
		return err
	}
	return errors.Join(errUnreachable, err)
}

const assessHelp = `Asks a running server. The number is the argument, or the first line of standard input for -; without either, the event has
no number. It is counted, unless --peek is given.

  ringfence assess "+1 202 555 0143" --account u_81
  printf '%s' "$number" | ringfence assess - --event verification --region US -o json`

func newAssess() *cobra.Command {
	var f clientFlags
	var req api.AssessmentRequest
	var peek bool
	cmd := &cobra.Command{
		Use: "assess [NUMBER]", Short: "score one event", Long: assessHelp, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if req.PhoneNumber, err = numberArg(append(args, "")[0], cmd.InOrStdin()); err != nil {
				return err
			}
			if peek {
				req.Record = new(bool)
			}
			a, err := f.client().Assess(cmd.Context(), req)
			if err != nil {
				return explained(err)
			}
			return f.print(cmd.OutOrStdout(), a, func(w io.Writer) { printAssessment(w, a) })
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&req.Event, "event", "signup", "signup, verification, sign_in, checkout, recovery or number_change")
	fl.StringVar(&req.DefaultRegion, "region", "", "region of a number without country code, two letters")
	fl.StringVar(&req.AccountID, "account", "", "account id")
	fl.StringVar(&req.IP, "ip", "", "address of the visitor")
	fl.StringVar(&req.DeviceID, "device", "", "device id")
	fl.StringVar(&req.IPCountry, "country", "", "country of the address, two letters")
	fl.BoolVar(&req.Verified, "verified", false, "the number was verified for the account")
	fl.BoolVar(&peek, "peek", false, "look only: count nothing")
	return cmd
}

// numberArg returns an argument, or the first line of standard input for "-".
func numberArg(arg string, stdin io.Reader) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	line, err := bufio.NewReader(io.LimitReader(stdin, 1<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("cannot read standard input: %w", err)
	}
	return strings.TrimSpace(line), nil
}

func printAssessment(w io.Writer, a *api.Assessment) {
	line := func(name string, value any) { _, _ = fmt.Fprintf(w, "%s\t%v\n", name, value) }
	line("decision", a.Decision)
	line("score", a.Score)
	for _, r := range a.Reasons {
		observed := ""
		if r.Observed != nil {
			observed = fmt.Sprintf("observed %v", *r.Observed)
		}
		_, _ = fmt.Fprintf(w, "  %s\t%+d\t%s\n", r.Code, r.Points, observed)
	}
	if n := a.Number; n != nil {
		line("number", strings.TrimSpace(fmt.Sprintf("%s %s %s", map[bool]string{true: "valid", false: "invalid"}[n.Valid], n.Region, n.Type)))
	}
	if acc := a.Accounts; acc != nil {
		line("accounts", acc.Verified)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Signals)) {
		line("  "+name, a.Signals[name])
	}
	if len(a.Degraded) > 0 {
		line("not known", strings.Join(a.Degraded, ", "))
	}
	if a.AssessmentID != "" {
		line("assessment", a.AssessmentID)
	}
	if a.PhoneToken != "" {
		line("token", a.PhoneToken)
	}
}

func newOutcome() *cobra.Command {
	var f clientFlags
	var req api.OutcomeRequest
	cmd := &cobra.Command{
		Use: "outcome ASSESSMENT OUTCOME", Short: "say what became of an event", Args: cobra.ExactArgs(2),
		Long: "Tells a running server the outcome of an assessment: verified, unverified, abuse or legitimate.",
		RunE: func(cmd *cobra.Command, args []string) error {
			req.AssessmentID, req.Outcome = args[0], args[1]
			o, err := f.client().Outcome(cmd.Context(), req)
			if err != nil {
				return explained(err)
			}
			return f.print(cmd.OutOrStdout(), o, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "changed\t%v\nlinked\t%v\nstale\t%v\n", o.Changed, o.Linked, o.Stale)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&req.Source, "source", "", "who says so: a short code, such as chargeback")
	return cmd
}

func newListsLs() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use: "ls [NAME]", Short: "show the lists of a running server, or the entries of one", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return f.entries(cmd, args[0])
			}
			names, err := f.client().Lists(cmd.Context())
			if err != nil {
				return explained(err)
			}
			return f.print(cmd.OutOrStdout(), api.ListNames{Lists: names}, func(w io.Writer) {
				for _, name := range names {
					_, _ = fmt.Fprintln(w, name)
				}
			})
		},
	}
	f.add(cmd)
	return cmd
}

// entries prints a list as it arrives: one entry a line, whatever the form.
func (f *clientFlags) entries(cmd *cobra.Command, name string) error {
	e := json.NewEncoder(cmd.OutOrStdout())
	for entry, err := range f.client().Entries(cmd.Context(), name) {
		if err != nil {
			return explained(err)
		}
		if f.output == "table" {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\t%s\t%s\n", entry.PhoneToken, entry.Reason, day(entry.AddedAt), day(entry.ExpiresAt))
		} else {
			err = e.Encode(entry)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// day shortens a time to its date, "-" for none.
func day(text string) string {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return "-"
	}
	return at.Format(time.DateOnly)
}

func newListsRm() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use: "rm NAME TOKEN", Short: "take an entry off a list of a running server", Args: cobra.ExactArgs(2),
		Long: "The token is the entry's, as ringfence lists ls NAME and every assessment show it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.client().RemoveEntry(cmd.Context(), args[0], args[1])
			if err != nil {
				return explained(err)
			}
			return f.print(cmd.OutOrStdout(), r, func(w io.Writer) {
				_, _ = fmt.Fprintln(w, map[bool]string{true: "removed", false: "it was not on the list"}[r.Removed])
			})
		},
	}
	f.add(cmd)
	return cmd
}
