// Command scale measures how what an event takes grows with the number of phones that a store knows. It fills a store with
// every phone once, compacts it and opens it again (unless records are to be in memory already), assesses events of the mix that it is asked for, and then lets a
// process die by kill -9 with many events that are only in the log, and opens what that left. It prints a row of a
// table in Markdown. What the log takes on the disk is not part of what records take, and is printed apart.
//
// It stops, and says why, when it needs more disk, memory or time than it may.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/ringfence/ringfence/bench/load"
)

// settings are the flags.
type settings struct {
	dir       string
	phones    uint64
	mix       string
	workers   int
	events    uint64 // measured
	unflushed uint64 // at the kill, unless bounded
	bounded   bool   // as a server bounds it
	cache     int64  // bytes
	cached    bool   // measured with what the filling left in memory

	maxDisk, maxRSS int64
	maxTime         time.Duration

	die bool // be the process that is killed
}

func parse(args []string) (s settings, err error) {
	f := flag.NewFlagSet("scale", flag.ContinueOnError)
	f.StringVar(&s.dir, "dir", "", "folder for the store, made and removed again (default: a temporary one)")
	f.Uint64Var(&s.phones, "phones", 1_000_000, "phones, and accounts; a quarter as many addresses")
	f.StringVar(&s.mix, "mix", "zipf", "zipf, or uniform: then every phone and account as often as any other")
	f.IntVar(&s.workers, "workers", 64, "callers who wait for their answers")
	f.Uint64Var(&s.events, "events", 1_000_000, "events measured")
	f.Uint64Var(&s.unflushed, "unflushed", 1_000_000, "events that only the log has when the process is killed")
	f.BoolVar(&s.bounded, "bounded", false, "the process is killed after as many events, and bounds what only the log has as a server does")
	f.Int64Var(&s.cache, "cache", 1<<30, "bytes for records in memory")
	f.BoolVar(&s.cached, "cached", false, "measure with the records in memory that the filling left there, all of them if they fit, instead of after opening again")
	f.Int64Var(&s.maxDisk, "max-disk", 60<<30, "bytes of disk, the log included")
	f.Int64Var(&s.maxRSS, "max-rss", 8<<30, "bytes of memory")
	f.DurationVar(&s.maxTime, "max-time", time.Hour, "time for everything")
	f.BoolVar(&s.die, "die", false, "used by the program itself")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if s.phones < 2 || s.mix != "zipf" && s.mix != "uniform" || s.workers < 1 || s.events < 1 || s.unflushed < 1 {
		return s, errors.New("give at least 2 phones, one worker and one event, and zipf or uniform")
	}
	return s, nil
}

func (s settings) traffic() load.Mix {
	if s.mix == "uniform" {
		return load.Uniform(s.phones)
	}
	return load.Hot(s.phones)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	s, err := parse(os.Args[1:])
	if err == nil && s.die {
		err = die(ctx, s, nil)
	} else if err == nil {
		err = measure(ctx, s, os.Stdout, os.Stderr)
	}
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// measure does everything and prints the row.
func measure(ctx context.Context, s settings, out, say io.Writer) (err error) {
	machine := load.Machine()
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "ringfence-scale-"); err != nil {
			return err
		}
	} else if err := os.Mkdir(s.dir, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }() //nolint:gosec // our own folder
	ctx, cancel := context.WithTimeoutCause(ctx, s.maxTime, errors.New("it takes longer than -max-time"))
	defer cancel()
	r, err := grow(ctx, s, say)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	_, err = fmt.Fprint(out, machine, ". ", s.workers, " workers, ", s.cache>>20, " MiB of records in memory.\n\n", head, r.row(s))
	return err
}
