package main

import (
	"bytes"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/cmd/ringfence/replay"
)

// maxDemoEvents keeps the made-up file small: it is held in memory.
const maxDemoEvents = 1_000_000

func newDemo() *cobra.Command {
	f := replayFlags{output: "table"}
	var events int
	var show bool
	cmd := &cobra.Command{
		Use: "demo", Short: "replay made-up traffic and show what a policy makes of it", Args: cobra.NoArgs,
		Long: "Makes up events of ordinary people, families, an account farm and a pumper of text messages, on numbers kept for\n" +
			"fiction, and replays them. What it shows says nothing about real traffic.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if events < 1 || events > maxDemoEvents {
				return usage("--events takes 1 to 1000000")
			}
			if show {
				return replay.Demo(cmd.OutOrStdout(), f.seed, events)
			}
			var made bytes.Buffer
			if err := replay.Demo(&made, f.seed, events); err != nil {
				return err
			}
			bar := newBar(cmd.ErrOrStderr(), "scoring", int64(events))
			err := f.run(cmd, bar, replay.Input{From: &made})
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "ringfence: made-up traffic; see it with --show, and try your own with: ringfence replay FILE")
			return err
		},
	}
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "the same seed makes up the same events")
	cmd.Flags().IntVar(&events, "events", 5000, "how many events to make up")
	cmd.Flags().StringVar(&f.policy, "policy", "", "policy file (default: the embedded policy)")
	cmd.Flags().VarP(&f.output, "output", "o", "table or ndjson")
	cmd.Flags().BoolVar(&show, "show", false, "print the events instead, as replay reads them")
	return cmd
}
