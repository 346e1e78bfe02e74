package load

import (
	"cmp"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Result is what a run did and took.
type Result struct {
	Events  uint64
	Failed  uint64        // events among them that failed
	Elapsed time.Duration // from the first event to the end of the last
	CPU     time.Duration // of this process
	Latency Histogram     // times to answer
	First   error         `json:"-"` // of those that failed
}

// PerSecond returns events a second.
func (r *Result) PerSecond() float64 { return float64(r.Events) / r.Elapsed.Seconds() }

// CPUPerEvent returns the time of this process an event.
func (r *Result) CPUPerEvent() time.Duration { return r.CPU / time.Duration(max(r.Events, 1)) } //nolint:gosec // a count

// Worker returns the function that one worker calls for each event. It is called once, by the goroutine of that worker.
type Worker func(worker int) func() error

// patience is how many events in a row may fail before a worker of Closed gives up: one that cannot even connect fails as fast as it
// can ask, and would leave millions of failures and no processor time to anybody else.
const patience = 100

// Closed keeps workers busy for a time, or until they have done limit events (0: no limit): each asks again as soon as it has its answer.
// A worker ends early when 100 of its events have failed one after the other.
func Closed(workers int, d time.Duration, limit uint64, work Worker) *Result {
	var next atomic.Uint64
	deadline := time.Now().Add(d)
	return run(workers, patience, work, func(int) func() (time.Time, bool) {
		return func() (time.Time, bool) {
			now := time.Now()
			return now, now.Before(deadline) && (limit == 0 || next.Add(1) <= limit)
		}
	})
}

// Open asks perSecond times a second for a time, at random moments as independent callers do. What it says of times to answer
// begins when an event was due, even if all workers were busy then.
func Open(workers int, perSecond float64, d time.Duration, work Worker) *Result {
	// The thread that waits for the next event keeps one of the processors that goroutines run on while it sleeps.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1))
	due := make(chan time.Time, 1<<16)
	stop := pace(due, perSecond, d)
	defer stop()
	return run(workers, math.MaxInt, work, func(int) func() (time.Time, bool) { // what is due has to be taken, failures or not
		return func() (time.Time, bool) {
			at, ok := <-due
			return at, ok
		}
	})
}

// pace sends when events are due, and closes the channel after d. The thread sleeps by itself: the
// runtime's timers are late by up to a millisecond when nothing else goes on.
func pace(due chan<- time.Time, perSecond float64, d time.Duration) (stop func()) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // made-up traffic has to be the same each time
	var stopped atomic.Bool
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(due)
		start := time.Now()
		gap := func() time.Duration { return time.Duration(random.ExpFloat64() / perSecond * float64(time.Second)) }
		for at := gap(); at < d && !stopped.Load(); at += gap() {
			for time.Since(start) < at {
				nap := syscall.NsecToTimespec(int64(50 * time.Microsecond))
				_ = syscall.Nanosleep(&nap, nil) // woken early is fine
			}
			due <- start.Add(at)
		}
	}()
	return func() { stopped.Store(true) }
}

// run lets workers work until their source of due times ends, or patience events in a row have failed.
func run(workers, patience int, work Worker, next func(int) func() (time.Time, bool)) *Result {
	var wg sync.WaitGroup
	parts := make([]Result, workers)
	start, used := time.Now(), CPU()
	for w := range workers {
		wg.Go(func() {
			p, do, next := &parts[w], work(w), next(w)
			for inRow := 0; inRow < patience; {
				at, ok := next()
				if !ok {
					return
				}
				if err := do(); err == nil {
					inRow = 0
				} else {
					inRow++
					p.Failed++
					p.First = cmp.Or(p.First, err)
				}
				p.Events++
				p.Latency.Add(time.Since(at))
			}
		})
	}
	wg.Wait()
	total := &Result{Elapsed: time.Since(start), CPU: CPU() - used}
	for i := range parts {
		total.Events += parts[i].Events
		total.Failed += parts[i].Failed
		total.Latency.Merge(&parts[i].Latency)
		if total.First == nil {
			total.First = parts[i].First
		}
	}
	return total
}
