package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"time"
)

// kill ends the server with SIGKILL while 64 writers send events, starts it again, and holds what it has counted against
// what was acknowledged; then the writers send what was not answered once more, and go on.
func kill(b *bench) error {
	const writers = 64
	cycles := b.pick(25, 1000)
	random := rand.New(rand.NewPCG(b.seed, 1)) //nolint:gosec // when to kill
	data := filepath.Join(b.folder, "kill")
	c := newCrowd(writers)
	c.run(b.ctx)
	var slowest time.Duration
	p, err := b.start(data)
	if err != nil {
		return err
	}
	for cycle := range cycles {
		c.open(client(p.url))
		if err := pause(b.ctx, 50*time.Millisecond+time.Duration(random.Int64N(int64(350*time.Millisecond)))); err != nil {
			return errors.Join(err, p.end(syscall.SIGKILL))
		}
		_ = p.end(syscall.SIGKILL) // says that it was killed
		c.park()
		began := time.Now()
		if p, err = b.start(data); err != nil {
			return fmt.Errorf("cycle %d: %w", cycle, err)
		}
		slowest = max(slowest, time.Since(began))
		if err := c.check(b.ctx, client(p.url)); err != nil {
			return errors.Join(fmt.Errorf("cycle %d: %w", cycle, err), p.end(syscall.SIGKILL))
		}
		if done := cycle + 1; done%100 == 0 && done < cycles {
			b.printf("kill: %d cycles, none lost so far", done)
		}
	}
	c.open(client(p.url))
	if err := errors.Join(c.finish(), c.check(b.ctx, client(p.url)), p.drain()); err != nil {
		return err
	}
	answers, attempts := c.sums()
	b.printf("kill: %d cycles under %d writers: %d events acknowledged in %d attempts, 0 lost, 0 counted twice; slowest start %v",
		cycles, writers, answers, attempts, slowest.Round(time.Millisecond))
	return nil
}
