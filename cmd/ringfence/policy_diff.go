package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/scoring"
)

func newPolicyDiff() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use: "diff A B", Short: "say in words and line by line what changes from one policy to another", Args: cobra.ExactArgs(2),
		Long: "A and B are policy files; default is the embedded policy, @3 is version 3 of a running server, and @live the one that is live there.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var policies [2]*scoring.Policy
			for i, name := range args {
				p, err := f.policyNamed(cmd.Context(), name)
				if err != nil {
					return err
				}
				policies[i] = p
			}
			return printDiff(cmd.OutOrStdout(), policies[0], policies[1])
		},
	}
	f.addServer(cmd)
	return cmd
}

// policyNamed returns a policy by a file's name, default for the embedded one, or @3 and @live of a server.
func (f *clientFlags) policyNamed(ctx context.Context, name string) (*scoring.Policy, error) {
	at, versioned := strings.CutPrefix(name, "@")
	switch {
	case name == "default":
		return scoring.Default(), nil
	case !versioned:
		return readPolicy(name)
	}
	version, err := f.version(ctx, at)
	if err != nil {
		return nil, err
	}
	v, err := f.client().Policy(ctx, version)
	if err != nil {
		return nil, explained(err)
	}
	return scoring.Compile([]byte(v.Source))
}

// version reads the number of a version, or asks which one is live.
func (f *clientFlags) version(ctx context.Context, text string) (uint32, error) {
	if text == "live" {
		page, err := f.client().Policies(ctx, "")
		if err != nil {
			return 0, explained(err)
		}
		return page.Live, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		return 0, usage("a version is a number, such as 3, or live")
	}
	return uint32(n), nil
}

func printDiff(out io.Writer, from, to *scoring.Policy) error {
	words := scoring.Diff(from, to)
	if len(words) == 0 {
		words = []string{"both decide the same"}
	}
	if _, err := fmt.Fprintf(out, "%s\n\n", strings.Join(words, "\n")); err != nil {
		return err
	}
	return unified(out, from.Source(), to.Source())
}

// contextLines is how many equal lines stand around a change.
const contextLines = 2

// unified writes the lines that differ, with a few around them: "-" for old ones, "+" for new.
func unified(w io.Writer, from, to []byte) error {
	edits := compare(strings.Split(strings.TrimSuffix(string(from), "\n"), "\n"), strings.Split(strings.TrimSuffix(string(to), "\n"), "\n"))
	shown := make([]bool, len(edits))
	for i, e := range edits {
		if e[0] == ' ' {
			continue
		}
		for k := max(i-contextLines, 0); k <= min(i+contextLines, len(edits)-1); k++ {
			shown[k] = true
		}
	}
	for i, e := range edits {
		if !shown[i] {
			continue
		}
		if i > 0 && !shown[i-1] {
			if _, err := fmt.Fprintln(w, "..."); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(w, e); err != nil {
			return err
		}
	}
	return nil
}

// compare lines two texts up by their longest common subsequence. What both begin and end with is
// left out of the search, whose time and memory grow with the product of the rest.
func compare(a, b []string) []string {
	var head, tail []string
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		head, a, b = append(head, " "+a[0]), a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail, a, b = append([]string{" " + a[len(a)-1]}, tail...), a[:len(a)-1], b[:len(b)-1]
	}
	common := make([][]int, len(a)+1) // by beginnings in a and b: the most lines that the rests share
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			common[i][j] = max(common[i+1][j], common[i][j+1])
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			head = append(head, " "+a[i])
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || common[i+1][j] >= common[i][j+1]):
			head = append(head, "-"+a[i])
			i++
		default:
			head = append(head, "+"+b[j])
			j++
		}
	}
	return append(head, tail...)
}
