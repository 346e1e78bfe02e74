package pebblestore

import (
	"sync"
	"sync/atomic"
	"time"
)

// waits are the callers that wait for a sync of the log.
type waits struct {
	came atomic.Uint64 // so far
	left atomic.Uint64 // those of them whose wait is over

	mu    sync.Mutex // Pebble asks from one goroutine, or from two while it turns to a new file
	pacer pacer      // guarded by mu
}

// rest returns how long the log is not to be synced after a sync. Pebble asks after each.
func (w *waits) rest() time.Duration {
	left := w.left.Load() // before came, so that the difference is not negative
	came := w.came.Load()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pacer.rest(time.Now(), came, came-left)
}

// crowd is how many have to wait for a rest to be worth a try, those whom the sync that is over let through and
// who have not noticed yet included. Fewer are better off without, one alone above all: nobody comes in between.
const crowd = 4

// pacer decides whether syncs of the log follow each other at once, or the log rests in between for as long as a sync takes.
// Whoever comes meanwhile shares the next one. Where callers have work to do before they come again, as they have over
// HTTP, that leaves more of the processor to it; where they only wait for one another it leaves the processor idle. It depends on
// the disk and on the load which of both it is, so the pacer tries: it goes on in the way that
// let more callers through, and now and then tries the other one.
type pacer struct {
	resting bool          // the way of the present stretch
	trial   bool          // it is tried for this stretch only
	sync    time.Duration // what a sync takes
	rate    float64       // callers a second in the last stretch of the way that was no trial

	began   time.Time // of the stretch
	came    uint64    // then
	syncs   int       // left in the stretch, 0 for none under way
	quiet   int       // stretches until the next trial, less the ones since
	nextGap int       // quiet after the last trial
}

// The lengths of things.
const (
	stretch  = 64 // syncs after which a way is judged
	firstGap = 4  // stretches between trials; twice as many after each that changed nothing
	lastGap  = 256
)

// worth is how many more callers a second a rest has to let through, since each of them waits longer with it.
const worth = 1.03

// Bounds of a rest.
const (
	minRest = 50 * time.Microsecond
	maxRest = time.Millisecond
)

// rest is told after each sync what time it is, how many callers have come so far, and how many of them wait.
func (p *pacer) rest(now time.Time, came, waiting uint64) time.Duration {
	if waiting < crowd {
		p.syncs = 0 // the stretch says nothing
		return 0
	}
	if p.syncs == 1 {
		p.judge(now, came)
	}
	if p.syncs <= 1 {
		p.began, p.came, p.syncs = now, came, stretch+1
	}
	p.syncs--
	return p.now()
}

// now is how long to rest in the present stretch.
func (p *pacer) now() time.Duration {
	if !p.resting {
		return 0
	}
	return min(max(p.sync, minRest), maxRest)
}

// judge looks at the stretch that ends, and chooses the way of the next one.
func (p *pacer) judge(now time.Time, came uint64) {
	took := now.Sub(p.began)
	if took <= 0 {
		return // a clock of little use
	}
	p.sync = max(took/stretch-p.now(), 0)
	rate := float64(came-p.came) / took.Seconds()
	switch {
	case p.trial && p.better(rate):
		p.trial, p.rate, p.quiet, p.nextGap = false, rate, firstGap, firstGap
	case p.trial:
		p.trial, p.resting = false, !p.resting
		p.nextGap = min(max(2*p.nextGap, firstGap), lastGap)
		p.quiet = p.nextGap
	default:
		p.rate = rate
		if p.quiet--; p.quiet <= 0 {
			p.trial, p.resting = true, !p.resting
		}
	}
}

// better reports whether the way on trial is better than the other one.
func (p *pacer) better(rate float64) bool {
	if p.resting {
		return rate > worth*p.rate
	}
	return worth*rate > p.rate
}
