package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/scoring/backtest"
)

// rolloutFlags are the flags of commands that change which policies are in force.
type rolloutFlags struct {
	clientFlags
	note     string
	replaces uint32
}

func (f *rolloutFlags) add(cmd *cobra.Command, replaces bool) {
	f.clientFlags.add(cmd)
	cmd.Flags().StringVar(&f.note, "note", "", "why; required, and kept with the change: 1 to 500 characters, no phone numbers")
	if replaces {
		cmd.Flags().Uint32Var(&f.replaces, "replaces", 0, "the version that is live as far as you know (default: the one that is)")
	}
}

func (f *rolloutFlags) check() error {
	if strings.TrimSpace(f.note) == "" {
		return usage("--note says why, and is missing")
	}
	return nil
}

// live returns which version the change replaces.
func (f *rolloutFlags) live(ctx context.Context) (uint32, error) {
	if f.replaces != 0 {
		return f.replaces, nil
	}
	return f.version(ctx, "live")
}

// bring returns the version that an argument names. A file is added as a new one first.
func (f *rolloutFlags) bring(ctx context.Context, arg string, stderr io.Writer) (uint32, error) {
	if _, err := strconv.ParseUint(arg, 10, 32); err == nil {
		return f.version(ctx, arg)
	}
	p, err := f.policyNamed(ctx, arg)
	if err != nil {
		return 0, err
	}
	v, err := f.client().AddPolicy(ctx, api.PolicyRequest{Source: string(p.Source()), Note: f.note})
	if err != nil {
		return 0, explained(err)
	}
	_, err = fmt.Fprintf(stderr, "ringfence: added as version %d\n", v.Version)
	return v.Version, err
}

func (f *rolloutFlags) printInForce(w io.Writer, a *api.RolloutAnswer) error {
	return f.print(w, a, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "live\tversion %d\n", a.Live)
		for _, v := range a.Shadows {
			_, _ = fmt.Fprintf(w, "in shadow\tversion %d\n", v)
		}
	})
}

const publishHelp = `Makes a policy the live one of a running server, for the next event on: a version that the server has, or a file, which is added as a new
version first. What changes is printed. When somebody else published meanwhile, nothing happens: look at policy history, and try again.

  ringfence policy publish new.yaml --note "fewer false positives"
  ringfence policy publish 8 --note "it did well in shadow"`

func newPolicyPublish() *cobra.Command {
	var f rolloutFlags
	cmd := &cobra.Command{
		Use: "publish FILE|VERSION", Short: "make a policy the live one of a running server", Long: publishHelp, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			ctx := cmd.Context()
			live, err := f.live(ctx)
			if err != nil {
				return err
			}
			version, err := f.bring(ctx, args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			v, err := f.client().Policy(ctx, version)
			if err != nil {
				return explained(err)
			}
			a, err := f.client().Publish(ctx, version, api.RolloutRequest{Note: f.note}, api.IfLive(live))
			if err != nil {
				return explained(err)
			}
			for _, words := range v.Changes {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s\n", words)
			}
			return f.printInForce(cmd.OutOrStdout(), a)
		},
	}
	f.add(cmd, true)
	return cmd
}

func newPolicyRollback() *cobra.Command {
	var f rolloutFlags
	cmd := &cobra.Command{
		Use: "rollback VERSION", Short: "make a new version, equal to an old one, the live one", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			to, err := f.version(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			live, err := f.live(cmd.Context())
			if err != nil {
				return err
			}
			a, err := f.client().RollBack(cmd.Context(), to, api.RolloutRequest{Note: f.note}, api.IfLive(live))
			if err != nil {
				return explained(err)
			}
			return f.printInForce(cmd.OutOrStdout(), a)
		},
	}
	f.add(cmd, true)
	return cmd
}

func newPolicyHistory() *cobra.Command {
	var f clientFlags
	var table string
	cmd := &cobra.Command{
		Use: "history", Short: "the versions of a running server, newest first, and what was changed by whom and why", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lines, err := isSheet(f.output, table)
			if err != nil {
				return err
			}
			all, err := f.client().Policies(cmd.Context(), "")
			for page := all; err == nil && page.Cursor != ""; {
				if page, err = f.client().Policies(cmd.Context(), page.Cursor); err == nil {
					all.Versions = append(all.Versions, page.Versions...)
				}
			}
			if err != nil {
				return explained(err)
			}
			if all.Cursor = ""; lines {
				return historySheet(all, table).print(cmd.OutOrStdout(), f.output)
			}
			return f.print(cmd.OutOrStdout(), all, func(w io.Writer) { printHistory(w, all) })
		},
	}
	f.add(cmd)
	addSheets(cmd, &f.output, &table, "versions", "changes")
	return cmd
}

func printHistory(w io.Writer, all *api.PolicyPage) {
	_, _ = fmt.Fprintln(w, "version\tname\tstate\tadded\tby\tnote")
	for _, v := range all.Versions {
		note := v.Note
		if v.EqualTo != 0 {
			note = fmt.Sprintf("equal to version %d: %s", v.EqualTo, note)
		}
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", v.Version, v.Name, v.State, v.AddedAt, v.Author, note)
	}
	_, _ = fmt.Fprintln(w, "\nchange\tversion\tin place of\tat\tby\tnote")
	for _, r := range all.History {
		replaces := ""
		if r.Replaces != 0 {
			replaces = strconv.FormatUint(uint64(r.Replaces), 10)
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", strings.ReplaceAll(r.Change, "_", " "), r.Version, replaces, r.At, r.Author, r.Note)
	}
}

const shadowHelp = `Runs a policy in shadow on a running server: it judges every event beside the live one, and changes nothing. Up to four run at once. With
--end, it no longer runs. Without FILE or VERSION, prints what those in shadow would have decided otherwise: with -o csv or ndjson a line for
every version and kind of decision before and after or, with --table versions, how many events and numbers stand behind each.

  ringfence policy shadow new.yaml --note "is it too strict"
  ringfence policy shadow --maturity 336h
  ringfence policy shadow 8 --end --note "seen enough"`

func newPolicyShadow() *cobra.Command {
	var f rolloutFlags
	var end bool
	var q api.ReportQuery
	var maturity time.Duration
	var table string
	cmd := &cobra.Command{
		Use: "shadow [FILE|VERSION]", Short: "try a policy on live traffic, and say what it would change", Long: shadowHelp, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				q.Maturity = int64(maturity.Seconds())
				return f.report(cmd, q, table)
			}
			if f.output == "csv" || table != "" {
				return usage("-o csv and --table are for a report: leave out FILE or VERSION")
			}
			if err := f.check(); err != nil {
				return err
			}
			version, err := f.bring(cmd.Context(), args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			a, err := f.client().Shadow(cmd.Context(), version, api.ShadowRequest{Note: f.note, End: end})
			if err != nil {
				return explained(err)
			}
			return f.printInForce(cmd.OutOrStdout(), a)
		},
	}
	f.add(cmd, false)
	addSheets(cmd, &f.output, &table, "moves", "versions")
	fl := cmd.Flags()
	fl.BoolVar(&end, "end", false, "end the shadow")
	fl.Uint32Var(&q.Version, "version", 0, "of the report: one version, also one that no longer runs")
	fl.StringVar(&q.From, "from", "", "of the report: leave out events before this time, such as 2026-01-02T03:04:05Z (default: 30 days ago)")
	fl.StringVar(&q.To, "to", "", "of the report: leave out events from this time on")
	fl.DurationVar(&maturity, "maturity", 0, "of the report: how old an event has to be for its label to count, such as 336h")
	return cmd
}

// report prints what policies in shadow would have decided otherwise.
func (f *rolloutFlags) report(cmd *cobra.Command, q api.ReportQuery, table string) error {
	lines, err := isSheet(f.output, table)
	if err != nil {
		return err
	}
	r, err := f.client().ShadowReport(cmd.Context(), q)
	if err != nil {
		return explained(err)
	}
	var shadows []backtest.Shadow
	if err := json.Unmarshal(r.Shadows, &shadows); err != nil {
		return errors.New("the server answers something else than a report; is it of this version?")
	}
	if lines {
		return shadowSheet(shadows, table).print(cmd.OutOrStdout(), f.output)
	}
	return f.print(cmd.OutOrStdout(), r, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "live\tversion %d\t%s to %s\n", r.Live, r.From, r.To)
		if len(shadows) == 0 {
			_, _ = fmt.Fprintln(w, "no policy runs in shadow")
		}
		for i := range shadows {
			printShadow(w, &shadows[i])
		}
	})
}

func printShadow(w io.Writer, s *backtest.Shadow) {
	_, _ = fmt.Fprintf(w, "\nversion %d\t%d events\t%s\n", s.Version, s.Events, numbers(s.Crowd))
	for _, side := range []struct {
		name  string
		crowd backtest.Crowd
	}{{"stricter", s.Stricter}, {"milder", s.Milder}} {
		_, _ = fmt.Fprintf(w, "%s\t%d events\t%s\n", side.name, side.crowd.Events, numbers(side.crowd))
	}
	for _, m := range s.Moves {
		if m.From != m.To {
			_, _ = fmt.Fprintf(w, "  %s\t%s instead\t%d: %d abuse, %d legitimate, %d without a label that counts\n",
				m.From, m.To, m.Abuse+m.Legitimate+m.Other, m.Abuse, m.Legitimate, m.Other)
		}
	}
}

// numbers says how many stand behind some events.
func numbers(c backtest.Crowd) string {
	about := ""
	if c.Estimated {
		about = "about "
	}
	return fmt.Sprintf("%s%d numbers, the busiest with %s of them", about, c.Numbers, percent(c.Top))
}

const calibrateHelp = `Has the answers of a running server carry a probability of abuse: judges the log by a version (default: the live one), fits the probability to
the labels so that it never falls as the score rises, and stores it with the version. It takes 20 labels of abuse and 20 legitimate ones that count.

  ringfence policy calibrate --maturity 336h`

func newPolicyCalibrate() *cobra.Command {
	var f clientFlags
	var maturity time.Duration
	cmd := &cobra.Command{
		Use: "calibrate [VERSION]", Short: "have answers carry a probability of abuse", Long: calibrateHelp, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			version, err := f.version(cmd.Context(), append(args, "live")[0])
			if err != nil {
				return err
			}
			b, err := f.await(cmd.Context(), cmd.ErrOrStderr(), api.BacktestRequest{Version: version, Maturity: int64(maturity.Seconds())})
			if err != nil {
				return err
			}
			c, err := f.client().Calibrate(cmd.Context(), version, api.CalibrationRequest{Backtest: b.ID})
			if errors.Is(err, api.ErrFewLabels) {
				return errors.Join(err, errNotMet)
			}
			if err != nil {
				return explained(err)
			}
			return f.print(cmd.OutOrStdout(), c, func(w io.Writer) {
				_, _ = fmt.Fprintln(w, "score\tprobability of abuse\tlabels")
				for _, band := range c.Bands {
					_, _ = fmt.Fprintf(w, "%d to %d\t%s\t%d\n", band.From, band.To, percent(band.Probability), band.Labels)
				}
			})
		},
	}
	f.add(cmd)
	cmd.Flags().DurationVar(&maturity, "maturity", 0, "how old an event has to be for its label to count, such as 336h")
	return cmd
}

// askEvery is how long lies between two looks at a backtest on a server.
const askEvery = 200 * time.Millisecond

// await starts a backtest on a server and returns what came of it. It is stopped when the command is.
func (f *clientFlags) await(ctx context.Context, stderr io.Writer, req api.BacktestRequest) (*api.Backtest, error) {
	b, err := f.client().StartBacktest(ctx, req)
	if err != nil {
		return nil, explained(err)
	}
	bar := newBar(stderr, "judging", -1)
	defer func() { _ = bar.Clear() }()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for b.State == "queued" || b.State == "running" {
		select {
		case <-ctx.Done():
			_, _ = f.client().CancelBacktest(context.WithoutCancel(ctx), b.ID)
			return nil, ctx.Err()
		case <-tick.C:
		}
		if b, err = f.client().Backtest(ctx, b.ID); err != nil {
			return nil, explained(err)
		}
		_ = bar.Set64(int64(b.Events)) //nolint:gosec // no log is that long
	}
	if b.State != "done" {
		title := "it was cancelled"
		if b.Problem != nil {
			title = b.Problem.Title
		}
		return nil, fmt.Errorf("the backtest came to nothing: %s", title)
	}
	return b, nil
}
