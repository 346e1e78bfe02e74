package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/scoring"
	"github.com/ringfence/ringfence/scoring/backtest"
)

const tuneHelp = `Looks for thresholds that meet a goal on the past, and prints what would change. The past is the same as for backtest: the log of a
data folder that no server has open, such as one written by ringfence store backup, or of a server with --running, or a FILE of events,
outcomes and labels.

  ringfence tune --max-fpr 0.005                        block as much as leaves 99.5 % of legitimate events alone
  ringfence tune --decision challenge --min-precision 0.8
  ringfence tune --cost-fp 20 --cost-fn 1               the least cost
  ringfence tune --review-capacity 200                  no more than 200 reviews a day
  ringfence tune --points --max-fpr 0.005 --write new.yaml

-o json prints the proposal with all that is needed to repeat it (as_of, maturity_seconds, seed), -o csv and -o ndjson two lines for every decision:
what its threshold does before and after.

With --points, the points that labels speak for come first, and thresholds are looked for on what they lead to. Exits 3 when no threshold
meets the goal. Nothing is published: try the file, then put it in force.

Thresholds look better on the data they were chosen on than they are. Choose on one range of time, and try on another:

  ringfence tune --max-fpr 0.005 --to 2026-02-01 --write new.yaml
  ringfence backtest --policy new.yaml --from 2026-02-01`

// tuneFlags say what a threshold is to achieve.
type tuneFlags struct {
	past                 backtestFlags // costs, too
	decision             string
	maxFPR, minPrecision float64
	capacity             float64
	points               bool
	write                string
	output               output
}

func newTune() *cobra.Command {
	f := tuneFlags{output: "table"}
	cmd := &cobra.Command{
		Use: "tune [FILE]", Short: "look for thresholds that meet a goal", Long: tuneHelp, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			goal, err := f.goal(cmd)
			if err != nil {
				return err
			}
			return f.past.with(cmd, args, func(p *past) error { return f.run(cmd, p, p.policy, goal) })
		},
	}
	f.past.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.decision, "decision", "block", "whose threshold: challenge, review or block")
	fl.Float64Var(&f.maxFPR, "max-fpr", 0, "act on at most this share of legitimate events, 0 to 1")
	fl.Float64Var(&f.minPrecision, "min-precision", 0, "of what is acted on, at least this share is abuse, 0 to 1")
	fl.Float64Var(&f.capacity, "review-capacity", 0, "how many events a day people can review")
	fl.BoolVar(&f.points, "points", false, "take suggested points first")
	fl.StringVar(&f.write, "write", "", "write the proposed policy to this file")
	addSheets(cmd, &f.output, nil)
	return cmd
}

func (f *tuneFlags) goal(cmd *cobra.Command) (backtest.Goal, error) {
	g := backtest.Goal{CostFP: f.past.costFP, CostFN: f.past.costFN, ReviewCapacity: f.capacity}
	for d := scoring.Challenge; d <= scoring.Block; d++ {
		if d.String() == f.decision {
			g.Decision = d
		}
	}
	if cmd.Flags().Changed("max-fpr") {
		g.MaxFPR = &f.maxFPR
	}
	if cmd.Flags().Changed("min-precision") {
		g.MinPrecision = &f.minPrecision
	}
	unit := func(v float64) bool { return v >= 0 && v <= 1 }
	switch {
	case g.Decision == 0:
		return g, usage("--decision takes challenge, review or block")
	case !unit(f.maxFPR) || !unit(f.minPrecision) || !(f.capacity >= 0):
		return g, usage("--max-fpr and --min-precision take 0 to 1; --review-capacity takes 0 or more")
	case g.MaxFPR == nil && g.MinPrecision == nil && g.CostFP == 0 && g.CostFN == 0 && f.capacity == 0:
		return g, usage("a goal is missing: --max-fpr, --min-precision, --cost-fp with --cost-fn, or --review-capacity")
	}
	return g, f.past.checkCosts()
}

func (f *tuneFlags) run(cmd *cobra.Command, p *past, policy *scoring.Policy, goal backtest.Goal) error {
	result, err := p.run(cmd.Context(), policy)
	if err != nil {
		return err
	}
	tried, before := policy, result
	if f.points {
		doc, err := result.Suggest(policy)
		if err != nil {
			return err
		}
		if tried, err = scoring.Compile(doc); err != nil {
			return err
		}
		if result, err = p.run(cmd.Context(), tried); err != nil {
			return err
		}
	}
	proposal, err := result.Propose(tried, goal)
	if errors.Is(err, backtest.ErrGoal) {
		return errors.Join(errNotMet, err)
	}
	if err != nil {
		return err
	}
	now, err := scoring.Compile(proposal.Doc)
	if err != nil {
		return err
	}
	proposal.Words = scoring.Diff(policy, now)
	proposal.Notes = append([]backtest.Note{sameData}, proposal.Notes...)
	if f.write != "" {
		if err := os.WriteFile(f.write, proposal.Doc, 0o600); err != nil {
			return err
		}
	}
	if f.past.page != "" { // shows what the proposed policy would do
		after, err := p.run(cmd.Context(), now)
		if err == nil {
			err = f.past.writePage(after, proposal.Notes...)
		}
		if err != nil {
			return err
		}
	}
	return f.print(cmd.OutOrStdout(), result, policy, proposal, costsOf(before, result, proposal, goal))
}

// sameData is what to know of every proposal.
var sameData = backtest.Note{Code: "same_data", Text: "these figures are of the data that the thresholds were chosen on, and flatter them. To check, choose on one range of time and " +
	"try on another: tune --to DAY --write new.yaml, then backtest --policy new.yaml --from DAY"}

// proposedCosts say what acting from the threshold of a decision on costs.
type proposedCosts struct {
	FP       float64           `json:"cost_fp"`
	FN       float64           `json:"cost_fn"`
	Decision string            `json:"decision"`
	Before   backtest.Priced   `json:"before"` // of the policy as it is
	After    backtest.Priced   `json:"after"`
	Around   []backtest.Priced `json:"around"` // of the proposal and its neighbours
}

// costsOf prices a proposal; nil where errors have no cost. The result before is of the policy as it is, the one after
// has suggested points, if they were asked for.
func costsOf(before, after *backtest.Result, proposal *backtest.Proposal, goal backtest.Goal) *proposedCosts {
	if goal.CostFP == 0 {
		return nil
	}
	c := &proposedCosts{FP: goal.CostFP, FN: goal.CostFN, Decision: goal.Decision.String()}
	for _, t := range proposal.Thresholds {
		if t.Decision == c.Decision {
			c.Before = backtest.Priced{Threshold: t.Old, Cost: before.Curve[t.Old].Cost(c.FP, c.FN)}
			c.After = backtest.Priced{Threshold: t.New, Cost: t.After.Cost(c.FP, c.FN)}
			c.Around = after.Around(t.New, c.FP, c.FN)
		}
	}
	return c
}

func (f *tuneFlags) print(w io.Writer, r *backtest.Result, policy *scoring.Policy, proposal *backtest.Proposal, costs *proposedCosts) error {
	switch f.output {
	case "csv", "ndjson":
		return proposalSheet(proposal, r.Costs != nil).print(w, f.output)
	case "json":
		out := map[string]any{
			"digest": r.Digest, "mode": r.Mode, "as_of": r.AsOf, "maturity_seconds": r.Maturity, "seed": r.Seed, "thresholds": proposal.Thresholds, "changes": proposal.Words, "policy": string(proposal.Doc),
			"abuse": r.Abuse, "legitimate": r.Legitimate, "calibration": r.Calibration,
			"notes": proposal.Notes,
		}
		if costs != nil {
			out["costs"] = costs
		}
		return json.NewEncoder(w).Encode(out)
	}
	p := &lines{w: w}
	p.account(r)
	p.f("\n")
	p.table(func() {
		p.f("decision\tfrom\tacted on\tprecision\trecall\tfalse positives\n")
		for _, t := range proposal.Thresholds {
			for _, row := range []struct {
				name string
				at   backtest.Point
			}{{t.Decision, t.Before}, {"  proposed", t.After}} {
				p.f("%s\t%d\t%d\t%s\t%s\t%s\n", row.name, row.at.Threshold, row.at.Events, interval(row.at.Precision), interval(row.at.Recall), interval(row.at.FPR))
			}
		}
	})
	if costs != nil {
		p.proposedCosts(costs)
	}
	p.f("\n")
	for _, n := range proposal.Notes {
		p.f("note: %s\n", n.Text)
	}
	p.f("\n")
	for _, words := range proposal.Words {
		p.f("%s\n", words)
	}
	if len(proposal.Words) == 0 {
		p.f("nothing would change: the policy meets the goal as it is\n")
	}
	p.f("\n")
	if p.err == nil {
		p.err = unified(w, policy.Source(), proposal.Doc)
	}
	return p.err
}

// proposedCosts shows what a proposal costs, and how much hangs on it.
func (p *lines) proposedCosts(c *proposedCosts) {
	p.f("\n")
	p.table(func() {
		p.f("%s\tfrom\tcost (%s)\n", c.Decision, prices(c.FP, c.FN))
		p.f("as it is\t%d\t%s\n", c.Before.Threshold, cost(c.Before.Cost))
		for _, n := range c.Around {
			name := ""
			if n.Threshold == c.After.Threshold {
				name = "proposed"
			}
			p.f("%s\t%d\t%s\n", name, n.Threshold, cost(n.Cost))
		}
	})
}
