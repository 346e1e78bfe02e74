package main

import (
	"bytes"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/bench/traffic"
	"github.com/ringfence/ringfence/cmd/ringfence/replay"
)

func newDemo() *cobra.Command {
	f := replayFlags{output: "table"}
	var people, events int
	var show bool
	cmd := &cobra.Command{
		Use: "demo", Short: "replay made-up traffic and show what a policy makes of it", Args: cobra.NoArgs,
		Long: "Makes up two weeks of ordinary people, families, offices, a launch, and campaigns that abuse numbers, all on numbers\n" +
			"kept for fiction, and replays them. What it shows says nothing about real traffic.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if people < 1 || people > traffic.MaxPeople {
				return usage("--people takes 1 to 20000")
			}
			if events < 0 {
				return usage("--events takes 1 or more, or 0 for all")
			}
			w, err := traffic.New(traffic.Config{Seed: f.seed, People: people})
			if err != nil {
				return err
			}
			if events > 0 {
				w.Events = w.Events[:min(events, len(w.Events))]
			}
			if show {
				return w.Write(cmd.OutOrStdout())
			}
			var made bytes.Buffer
			if err := w.Write(&made); err != nil {
				return err
			}
			bar := newBar(cmd.ErrOrStderr(), "scoring", int64(len(w.Events)))
			err = f.run(cmd, bar, replay.Input{From: &made})
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "ringfence: made-up traffic; see it with --show, and try your own with: ringfence replay FILE")
			return err
		},
	}
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "the same seed makes up the same events")
	cmd.Flags().IntVar(&people, "people", 1000, "how many ordinary people to make up")
	cmd.Flags().IntVar(&events, "events", 0, "stop after so many events; 0 for all of the two weeks")
	cmd.Flags().StringVar(&f.policy, "policy", "", "policy file (default: the embedded policy)")
	cmd.Flags().VarP(&f.output, "output", "o", "table or ndjson")
	cmd.Flags().BoolVar(&show, "show", false, "print the events instead, as replay reads them")
	return cmd
}
