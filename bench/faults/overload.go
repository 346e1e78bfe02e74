package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	mib     = 1 << 20
	mostRSS = 1 << 30 // the caches are bounded by about half of it
	modest  = 128     // connections of the modest load: enough for its rate however long each answer takes
)

// overload measures what the server bears and how long a modest load waits, and then that load again: beside slow and idle
// connections, and beside ten times as many pressing clients as it was measured with.
//
// The server has to live, to refuse with 429 or 503 if at all, to stay within its memory, and to go on as before afterwards.
// In the long form modest requests beside slow and idle connections must not wait more than twice as long.
func overload(b *bench) error {
	p, err := b.start(filepath.Join(b.folder, "overload"))
	if err != nil {
		return err
	}
	err = overloadOf(b, p)
	return errors.Join(err, p.drain())
}

func overloadOf(b *bench, p *process) error {
	address := strings.TrimPrefix(p.url, "http://")
	span := b.pickSpan(3*time.Second, 30*time.Second)
	slow, idle := 200, 1000
	if b.long {
		slow, idle = 1000, 5000
	}
	limits := bear(b, address, span)
	rate := limits.rate / 10
	quiet := pace(b.ctx, address, modest, rate, span)
	b.report("modest load alone", p, quiet)

	ctx, stop := context.WithCancel(b.ctx)
	var crowd sync.WaitGroup
	held := hang(ctx, &crowd, address, slow, idle)
	_ = pause(b.ctx, span/3)
	beside := pace(b.ctx, address, modest, rate, span)
	b.report(fmt.Sprintf("beside %d slow and idle connections (%d wanted)", held.Load(), slow+idle), p, beside)
	stop()
	crowd.Wait()

	var pressing *result
	crowd.Go(func() { pressing = press(b.ctx, address, 10*limits.conns, span+span/3) })
	_ = pause(b.ctx, span/3)
	under := pace(b.ctx, address, modest, rate, span)
	crowd.Wait()
	b.report(fmt.Sprintf("beside %d pressing clients", 10*limits.conns), p, under)
	b.report("the pressing clients", p, pressing)

	after := pace(b.ctx, address, modest, rate, span)
	b.report("modest load afterwards", p, after)
	return errors.Join(
		sound("beside slow and idle connections", beside), sound("under pressure", under), sound("pressing", pressing), sound("afterwards", after),
		atMost("memory under overload", float64(p.use().rss)/mib, mostRSS/mib),
		b.longOnly(atMost("p99 beside slow and idle connections against alone", ratio(beside, quiet), 2)))
}

type limits struct {
	conns int
	rate  float64 // events per second that are answered
}

// bear measures what the server bears.
func bear(b *bench, address string, span time.Duration) limits {
	l := limits{conns: 64}
	began := time.Now()
	r := press(b.ctx, address, l.conns, span)
	l.rate = float64(r.answered.Load()) / time.Since(began).Seconds()
	b.printf("it bears %.0f events/s from %d clients on this machine, p99 %v", l.rate, l.conns, r.percentile(99).Round(time.Millisecond/10))
	return l
}

func (b *bench) report(what string, p *process, r *result) {
	b.printf("%-55s %7d answered, %d shed, %d other, %d broken; p50 %v p99 %v; %d MiB, %d files", what,
		r.answered.Load(), r.shed.Load(), r.other.Load(), r.broken.Load(),
		r.percentile(50).Round(time.Millisecond/10), r.percentile(99).Round(time.Millisecond/10), p.use().rss/mib, p.use().files)
}

// sound holds that a load met nothing but answers and refusals in order.
func sound(what string, r *result) error {
	if r.other.Load() > 0 || r.broken.Load() > 0 || r.answered.Load() == 0 {
		return fmt.Errorf("%s: %d answered, %d broken connections, %d other answers", what, r.answered.Load(), r.broken.Load(), r.other.Load())
	}
	return nil
}

func atMost(what string, got, most float64) error {
	if got > most {
		return fmt.Errorf("%s: %.2f, at most %.2f", what, got, most)
	}
	return nil
}

func ratio(a, b *result) float64 {
	return float64(a.percentile(99)) / float64(max(b.percentile(99), time.Microsecond))
}

// longOnly keeps a bar that needs a quiet machine out of the short form.
func (b *bench) longOnly(err error) error {
	if b.long {
		return err
	}
	return nil
}

// hang holds connections that never finish a request, and connections that say nothing, until ctx ends. What
// the server closes is opened again.
func hang(ctx context.Context, wg *sync.WaitGroup, address string, slow, idle int) *atomic.Int64 {
	held := new(atomic.Int64)
	for i := range slow + idle {
		wg.Go(func() {
			for ctx.Err() == nil {
				c, err := dial(ctx, address)
				if err != nil { // out of files or ports: the machine's limit, not the server's
					_ = pause(ctx, time.Second)
					continue
				}
				held.Add(1)
				c.trickle(ctx, i < slow)
				held.Add(-1)
				_ = c.Close()
			}
		})
	}
	return held
}

// trickle sends a byte of a header a second, or nothing at all, until the server has had enough.
func (c *conn) trickle(ctx context.Context, slow bool) {
	const head = "POST /v1/assessments HTTP/1.1\r\nHost: x\r\nX-Slow: "
	gone := make(chan struct{})
	go func() {
		_, _ = c.in.ReadByte() // ends when either side closes
		close(gone)
	}()
	for n := 0; ; n++ {
		if slow {
			at := byte('a')
			if n < len(head) {
				at = head[n]
			}
			if _, err := c.Write([]byte{at}); err != nil {
				return
			}
		}
		t := time.NewTimer(time.Second)
		select {
		case <-t.C:
		case <-gone:
			t.Stop()
			return
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}
