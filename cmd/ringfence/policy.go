package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/scoring"
)

// readPolicy compiles a policy file, or the embedded policy for "".
func readPolicy(path string) (*scoring.Policy, error) {
	if path == "" {
		return scoring.Default(), nil
	}
	doc, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	p, err := scoring.Compile(doc)
	if err != nil {
		return nil, fmt.Errorf("policy %s:\n%w", path, err)
	}
	return p, nil
}

func newPolicy() *cobra.Command {
	policy := &cobra.Command{Use: "policy", Short: "check, test, publish and try policies"}
	policy.AddCommand(newPolicyLint(), newPolicyShow(), newPolicyTest(), newPolicyDiff(),
		newPolicyPublish(), newPolicyHistory(), newPolicyRollback(), newPolicyShadow(), newPolicyCalibrate())
	return policy
}

func newPolicyLint() *cobra.Command {
	return &cobra.Command{
		Use: "lint FILE", Short: "report every problem of a policy file", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			_, err := readPolicy(args[0])
			var found *scoring.PolicyError
			if errors.As(err, &found) {
				err = errors.Join(err, errNotMet)
			}
			return err
		},
	}
}

func newPolicyShow() *cobra.Command {
	return &cobra.Command{
		Use: "show [FILE]", Short: "print a policy, the embedded one without a file", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := readPolicy(append(args, "")[0])
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(p.Source())
			return err
		},
	}
}

const testHelp = `Scores made-up situations and compares the result with what you want of it. Exits 3 when one differs.

  - name: a number that signs up again and again
    given: {event: signup, signups_1h: 8, number.type: mobile}
    want: {decision: review, score: 60, reasons: [SIGNUPS_BY_PHONE_1H]}

What is not given is unknown. Of decision, score and reasons, only what is there is compared.`

func newPolicyTest() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "test CASES", Short: "run the examples of a file against a policy", Long: testHelp, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := readPolicy(path)
			if err != nil {
				return err
			}
			doc, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			results, err := p.Test(doc)
			if err != nil {
				return fmt.Errorf("cases %s:\n%w", args[0], err)
			}
			return printResults(cmd.OutOrStdout(), results)
		},
	}
	cmd.Flags().StringVar(&path, "policy", "", "policy file (default: the embedded policy)")
	return cmd
}

func printResults(w io.Writer, results []scoring.Result) error {
	failed := 0
	for _, r := range results {
		if len(r.Differ) == 0 {
			continue
		}
		failed++
		if _, err := fmt.Fprintf(w, "line %d: %s: %s\n", r.Line, r.Name, strings.Join(r.Differ, "; ")); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(w, "%d of %d cases passed\n", len(results)-failed, len(results)); err != nil {
		return err
	}
	if failed > 0 {
		return errNotMet
	}
	return nil
}
