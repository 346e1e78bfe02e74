package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/scoring"
	"github.com/ringfence/ringfence/scoring/backtest"
)

// notOfAServer are flags that say which data folder, or how to read a FILE.
var notOfAServer = []string{"data", "keyring", "passphrase-file", "domain", "base", "sort", "max-lateness", "map", "set", "list", "list-region"}

// ofAServer are flags that say which server.
var ofAServer = []string{"server", "key-file", "ca-file"}

// openServer has the past of a server that runs.
func (f *backtestFlags) openServer(cmd *cobra.Command, args []string, p *past) (err error) {
	for _, name := range notOfAServer {
		if cmd.Flag(name).Changed {
			return usage("--running asks a server about its own log, of the domain of the key: --" + name + " is for a data folder or a FILE")
		}
	}
	switch {
	case len(args) > 0:
		return usage("--running asks a server about its own log, and takes no FILE")
	case f.table == "events":
		return usage("--running brings a result and no events: -o ndjson takes --table curve, reasons, flips or moves")
	}
	if f.in.policy == "" {
		p.policy, err = f.client.policyNamed(cmd.Context(), "@live")
	}
	p.server = &f.client
	return err
}

// askServer has a server try a policy, and waits for what comes of it.
func (p *past) askServer(ctx context.Context, policy *scoring.Policy) (*backtest.Result, error) {
	b, err := p.server.await(ctx, p.stderr, api.BacktestRequest{
		Source: string(policy.Source()), Mode: p.mode, From: timeOrNone(p.cfg.From), To: timeOrNone(p.cfg.To), AsOf: timeOrNone(p.cfg.AsOf),
		Maturity: int64(p.cfg.Maturity / time.Second), Seed: p.cfg.Seed, Examples: p.cfg.Examples,
	})
	if err != nil {
		return nil, err
	}
	r := new(backtest.Result)
	if err := json.Unmarshal(b.Result, r); err != nil {
		return nil, fmt.Errorf("the server answers with what is no result of a backtest: %w", err)
	}
	p.cfg.AsOf = r.AsOf // of everything else that is tried beside it
	return r, nil
}

// timeOrNone is timeText, and "" for 0.
func timeOrNone(unix int64) string {
	if unix == 0 {
		return ""
	}
	return timeText(unix)
}
