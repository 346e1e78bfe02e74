package backtest

import (
	"fmt"
	"strings"
)

// Note is something to know about a proposal. Codes are fpr_uncertain, precision_uncertain and decision_gone.
type Note struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// notes says where labels are too few to be sure of a goal, and which decisions a proposal makes no more.
func (g *Goal) notes(thresholds []ProposedDecision) []Note {
	var notes []Note
	for _, t := range thresholds {
		if t.Decision != g.Decision.String() {
			continue
		}
		if rate := t.After.FPR; g.MaxFPR != nil && rate.Known() && rate.High > *g.MaxFPR {
			notes = append(notes, Note{"fpr_uncertain", fmt.Sprintf("%s acts on %s of legitimate events as seen, and it may be up to %s (interval at 95 %%, %d labels): more than the %s of the goal",
				t.Decision, hundredths(rate.Share), hundredths(rate.High), rate.Labels, hundredths(*g.MaxFPR))})
		}
		if rate := t.After.Precision; g.MinPrecision != nil && rate.Known() && rate.Low < *g.MinPrecision {
			notes = append(notes, Note{"precision_uncertain", fmt.Sprintf("of what %s acts on, %s is abuse as seen, and it may be only %s (interval at 95 %%, %d labels): less than the %s of the goal",
				t.Decision, hundredths(rate.Share), hundredths(rate.Low), rate.Labels, hundredths(*g.MinPrecision))})
		}
	}
	return append(notes, gone(thresholds)...)
}

func hundredths(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }

// gone says what is left of the decisions below one that has passed another.
func gone(thresholds []ProposedDecision) []Note {
	taker := 0
	for i := 1; i < len(thresholds); i++ {
		if thresholds[i].New <= thresholds[i-1].New {
			taker = i
		}
	}
	if taker == 0 {
		return nil
	}
	var parts []string
	for i, t := range thresholds[:taker] {
		next := thresholds[i+1]
		parts = append(parts, fmt.Sprintf("of %s %s is left (now %s)", t.Decision,
			band(t.New, next.New, t.After, next.After), band(t.Old, next.Old, t.Before, next.Before)))
	}
	t := thresholds[taker]
	return []Note{{"decision_gone", fmt.Sprintf("from a score of %d on it is %s: %s", t.New, t.Decision, strings.Join(parts, ", "))}}
}

// band says which scores lead to a decision from one threshold on, below the next, and how many events have them.
func band(from, next int, at, above Point) string {
	if from >= next {
		return "nothing"
	}
	return fmt.Sprintf("%d to %d with %d events", from, next-1, at.Events-above.Events)
}
