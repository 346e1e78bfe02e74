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
	modest  = 512     // connections of the modest load: enough for 1,000 events/s even if each is refused, which takes half a second
)

// overload measures what the server bears and how long a modest load waits, and then that load again: beside slow and idle
// connections, and beside ten times as many pressing clients as it was measured with, which come back as soon as they are answered.
//
// The server has to live, to refuse with 429 or 503 if at all, to stay within its memory, and to go on as before afterwards. In the long
// form, the answers to modest requests must not take more than twice what answers take at the rate that the server bears, in the
// 99th percentile. The modest load comes from a process of its own, which is not late because the pressing clients are many.
func overload(b *bench) error {
	p, err := b.start(filepath.Join(b.folder, "overload"), b.flags...)
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
	loaded, err := b.calmest(drive{address, modest, sustainable * limits.rate, span})
	b.report(fmt.Sprintf("alone at %.0f events/s: the baseline", sustainable*limits.rate), p, loaded)
	modestly := drive{address, modest, limits.rate / 10, span}
	quiet, err2 := b.paceApart(modestly)
	b.report("modest load alone", p, quiet)

	ctx, stop := context.WithCancel(b.ctx)
	defer stop()
	var crowd sync.WaitGroup
	held := hang(ctx, &crowd, address, slow, idle)
	_ = pause(b.ctx, span/3)
	beside, err3 := b.paceApart(modestly)
	b.report(fmt.Sprintf("beside %d slow and idle connections (%d wanted)", held.Load(), slow+idle), p, beside)

	var pressing summary
	var pressers sync.WaitGroup
	pressers.Go(func() { pressing = press(b.ctx, address, 10*limits.conns, span+span/3).summary() })
	_ = pause(b.ctx, span/3)
	under, err4 := b.paceApart(modestly)
	pressers.Wait()
	b.report(fmt.Sprintf("beside those and %d pressing clients", 10*limits.conns), p, under)
	b.report("the pressing clients", p, pressing)
	most := p.use().rss
	stop()
	crowd.Wait()

	after, err5 := b.paceApart(modestly)
	b.report("modest load afterwards", p, after)
	b.printf("p99 against the baseline: %.2f beside slow and idle connections, %.2f under pressure, %.2f of the pressing clients; %.2f and %.2f against alone",
		ratio(beside, loaded), ratio(under, loaded), ratio(pressing, loaded), ratio(beside, quiet), ratio(under, quiet))
	return errors.Join(err, err2, err3, err4, err5,
		sound("beside slow and idle connections", beside), sound("under pressure", under), sound("pressing", pressing), sound("afterwards", after),
		atMost("memory under overload", float64(max(most, p.use().rss))/mib, mostRSS/mib),
		b.longOnly(atMost("p99 beside slow and idle connections against the baseline", ratio(beside, loaded), 2)),
		b.longOnly(atMost("p99 under pressure against the baseline", ratio(under, loaded), 2)))
}

// sustainable is the share of what the server bears at most at which it can go on for ever: with none to spare, every hiccup would be
// waited for by all who come later.
const sustainable = 0.7

// calmest sends a load three times and returns what the time met at which answers came soonest: a baseline during which the
// machine had something else to do would let everything pass that is compared with it.
func (b *bench) calmest(d drive) (summary, error) {
	best, err := b.paceApart(d)
	for range 2 {
		again, err2 := b.paceApart(d)
		err = errors.Join(err, err2)
		if again.P99 < best.P99 {
			best = again
		}
	}
	return best, err
}

type limits struct {
	conns int
	rate  float64 // events per second that are answered
}

// bear measures what the server bears.
func bear(b *bench, address string, span time.Duration) limits {
	l := limits{conns: 64}
	began := time.Now()
	r := press(b.ctx, address, l.conns, span).summary()
	l.rate = float64(r.Answered) / time.Since(began).Seconds()
	b.printf("it bears %.0f events/s from %d clients on this machine, p99 %v", l.rate, l.conns, r.P99.Round(time.Millisecond/10))
	return l
}

func (b *bench) report(what string, p *process, r summary) {
	b.printf("%-55s %7d answered, %d shed, %d other, %d broken; p50 %v p99 %v, own lag p99 %v; %d MiB, %d files", what,
		r.Answered, r.Shed, r.Other, r.Broken, r.P50.Round(time.Millisecond/10), r.P99.Round(time.Millisecond/10), r.Lag99.Round(time.Millisecond/10),
		p.use().rss/mib, p.use().files)
}

// sound holds that a load met nothing but answers and refusals in order.
func sound(what string, r summary) error {
	if r.Other > 0 || r.Broken > 0 || r.Answered == 0 {
		return fmt.Errorf("%s: %d answered, %d broken connections, %d other answers", what, r.Answered, r.Broken, r.Other)
	}
	return nil
}

func atMost(what string, got, most float64) error {
	if got > most {
		return fmt.Errorf("%s: %.2f, at most %.2f", what, got, most)
	}
	return nil
}

func ratio(a, b summary) float64 { return float64(a.P99) / float64(max(b.P99, time.Microsecond)) }

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
	const head = "POST /v1/assessments HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
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
