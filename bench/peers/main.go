// Command peers measures ringfence against what somebody would build instead: Lua scripts in Redis, on their own and behind a Gin
// handler, and against a Gin handler that does nothing. All of them run in turns, so that a machine that gets slower
// does so for everybody; ratios are of one turn, and medians are of all of them.
//
// It is a module of its own, so that the clients of others never become dependencies of ringfence: run it in its folder, or with
// make bench-peers. redis-server is installed where it is missing and that is possible; otherwise what needs it is left out, and said so.
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
	rounds int
	turn   time.Duration // of a contender in a round
	warm   time.Duration // of a contender before the first round
	open   int           // rounds at half load
	phones uint64
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	played, err := isChild(ctx)
	if !played {
		var s settings
		flag.IntVar(&s.rounds, "rounds", 7, "turns of everybody in a closed loop, 5 or more to be worth publishing")
		flag.DurationVar(&s.turn, "turn", 3*time.Second, "time of a turn")
		flag.DurationVar(&s.warm, "warm", 5*time.Second, "time of everybody before the first turn")
		flag.IntVar(&s.open, "open", 3, "turns of everybody at half of what they can do")
		flag.Uint64Var(&s.phones, "phones", 1_000_000, "phones that take part")
		flag.Parse()
		err = compete(ctx, s, os.Stdout, os.Stderr)
	}
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// compete lets everybody run and prints the tables.
func compete(ctx context.Context, s settings, out, say io.Writer) (err error) {
	machine := load.Machine()
	dir, remove, err := tempDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	withRedis := true
	if err := installRedis(ctx, say); err != nil {
		withRedis = false
		_, _ = fmt.Fprintf(say, "\n*** NO REDIS: %v ***\n*** half of the comparison is missing ***\n\n", err)
	}
	f, err := newField(ctx, dir, s.phones, withRedis)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	b := newBoard()
	if err := f.play(ctx, s, b, say); err != nil {
		return err
	}
	if f.redis != "" {
		machine += ", Redis " + f.redis
	}
	return b.print(out, machine, s)
}

// play lets everybody run in turns, each round beginning with another one.
func (f *field) play(ctx context.Context, s settings, b *board, say io.Writer) error {
	for _, c := range f.contenders {
		if _, err := c.turn(order{Workers: c.workers, For: s.warm}); err != nil {
			return err
		}
	}
	for round := range s.rounds + s.open {
		for i := range f.contenders {
			c := f.contenders[(i+round)%len(f.contenders)]
			o := order{Workers: c.workers, For: s.turn}
			if round >= s.rounds {
				o.PerSecond = median(b.perSecond[c.name]) / 2
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			t, err := c.turn(o)
			if err != nil {
				return err
			}
			b.add(c.name, t, round >= s.rounds)
			_, _ = fmt.Fprintf(say, "%-46s %9.0f a second%s\n", c.name, t.PerSecond(), map[bool]string{true: ", half load"}[round >= s.rounds])
		}
	}
	return nil
}

// turn is the result of one contender's turn.
type turn struct {
	*load.Result
	server time.Duration // CPU of the other processes
}

// turn measures a contender once.
func (c *contender) turn(o order) (turn, error) {
	before, err := cpuOf(c.servers)
	if err != nil {
		return turn{}, err
	}
	r, err := c.run(o)
	if err != nil {
		return turn{}, fmt.Errorf("%s: %w", c.name, err)
	}
	if r.Failed > 0 || r.Events == 0 {
		return turn{}, fmt.Errorf("%s: %d of %d events failed: %w", c.name, r.Failed, r.Events, r.First)
	}
	after, err := cpuOf(c.servers)
	return turn{r, after - before}, err
}

func cpuOf(pids []int) (total time.Duration, err error) {
	for _, pid := range pids {
		used, err := load.CPUOf(pid)
		if err != nil {
			return 0, err
		}
		total += used
	}
	return total, nil
}
