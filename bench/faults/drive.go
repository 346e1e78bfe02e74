package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// drive is a load that a process of its own sends: of pace, or with no rate of press.
type drive struct {
	Address string
	Conns   int
	Rate    float64
	Span    time.Duration
}

// paceApart sends a load from a process of its own, and returns what it met.
func (b *bench) paceApart(d drive) (summary, error) {
	var met summary
	how, err := json.Marshal(d)
	if err != nil {
		return met, err
	}
	self, err := os.Executable()
	if err != nil {
		return met, err
	}
	cmd := exec.CommandContext(b.ctx, self, "-drive", string(how)) //nolint:gosec // ourselves
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return met, fmt.Errorf("a load from its own process: %w", err)
	}
	return met, json.Unmarshal(out, &met)
}

// driveIt is the other process.
func driveIt(ctx context.Context, how string, out io.Writer) error {
	var d drive
	if err := json.Unmarshal([]byte(how), &d); err != nil {
		return err
	}
	if d.Rate == 0 {
		return json.NewEncoder(out).Encode(press(ctx, d.Address, d.Conns, d.Span).summary())
	}
	return json.NewEncoder(out).Encode(pace(ctx, d.Address, d.Conns, d.Rate, d.Span, body).summary())
}
