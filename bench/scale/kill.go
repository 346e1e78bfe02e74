package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ringfence/ringfence/bench/load"
	"github.com/ringfence/ringfence/engine/pebblestore"
)

// die assesses events, none of which reach the tables unless s.bounded says so, until so many were acknowledged, and is then killed in the
// midst of more. It returns only when something else fails. acknowledged, which may be nil, is told of each event before
// that counts; it has to be safe for concurrent use.
func die(ctx context.Context, s settings, acknowledged func(load.Party)) error {
	g, err := s.open(ctx, func(o *pebblestore.Options) {
		if !s.bounded {
			o.MaxUnflushed, o.DirtyBytes = math.MaxInt64, math.MaxInt64
		}
	})
	if err != nil {
		return err
	}
	var seeds, done atomic.Uint64
	r := load.Closed(s.workers, s.maxTime, math.MaxUint64, func(int) func() error {
		source := s.traffic().Source(1_000_000 + seeds.Add(1))
		var party load.Party
		assess := g.assess(ctx, source, func() load.Party {
			party = source.Next()
			return party
		})
		return func() error {
			if err := assess(); err != nil {
				return err
			}
			if acknowledged != nil {
				acknowledged(party)
			}
			if done.Add(1) == s.unflushed {
				return syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
			return nil
		}
	})
	return fmt.Errorf("alive after %d events: %w", r.Events, r.First)
}

// recover lets a process die and measures how long opening the store takes then.
func (s settings) recover(ctx context.Context, r *report) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "-die", "-dir", s.dir, "-mix", s.mix, //nolint:gosec // ourselves
		"-phones", fmt.Sprint(s.phones), "-workers", fmt.Sprint(s.workers), "-unflushed", fmt.Sprint(s.unflushed), fmt.Sprintf("-bounded=%t", s.bounded),
		"-cache", fmt.Sprint(s.cache), "-max-time", s.maxTime.String())
	if err := killed(cmd, nil); err != nil {
		return err
	}
	used, began := load.CPU(), time.Now()
	g, err := s.open(ctx, nil)
	if err != nil {
		return err
	}
	r.recovery, r.recoveryCPU = time.Since(began), load.CPU()-used
	return g.store.Close()
}

// killed runs a process and expects that it is killed. It writes what that says to out, which may be nil.
func killed(cmd *exec.Cmd, out io.Writer) error {
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
			return nil
		}
	}
	return fmt.Errorf("the process was not killed: %w", err)
}
