package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	mathrand "math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/ringfence/ringfence/api"
)

// numbers are whom events are about: few, so that all writers meet on them.
const numbers = 16

func number(i int) string { return fmt.Sprintf("+1 202 555 01%02d", i) }

// ledger is what clients know: which events were acknowledged, and which are of unknown fate.
type ledger struct {
	mu       sync.Mutex
	told     [numbers]int // events acknowledged
	open     [numbers]int // events sent and not answered: they may have been counted, once
	answers  int
	attempts int
}

func (l *ledger) begin(n int) {
	l.mu.Lock()
	l.open[n]++
	l.mu.Unlock()
}

func (l *ledger) attempt() {
	l.mu.Lock()
	l.attempts++
	l.mu.Unlock()
}

func (l *ledger) acknowledge(n int) {
	l.mu.Lock()
	l.open[n]--
	l.told[n]++
	l.answers++
	l.mu.Unlock()
}

func (l *ledger) sums() (answers, attempts int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers, l.attempts
}

// event makes up an event about a number.
func event(n, account int) api.AssessmentRequest {
	return api.AssessmentRequest{
		PhoneNumber: number(n), Event: "sign_in", AccountID: fmt.Sprintf("u%d", account),
		IP: fmt.Sprintf("192.0.2.%d", account%250), DeviceID: fmt.Sprintf("d%d", account%40),
	}
}

// client asks one server, once a call.
func client(url string) *api.Client {
	return &api.Client{BaseURL: url, Attempts: 1, HTTP: httpClient(10 * time.Second)}
}

func httpClient(timeout time.Duration) *http.Client {
	return &http.Client{Timeout: timeout, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
}

// check asks a server how many events it has counted. Each number has to have all that were acknowledged, and at most those of
// unknown fate on top.
func (l *ledger) check(ctx context.Context, c *api.Client) error {
	l.mu.Lock()
	told, open := l.told, l.open
	l.mu.Unlock()
	var wrong []error
	for n := range numbers {
		profile, err := c.Lookup(ctx, api.PhoneRequest{PhoneNumber: number(n)})
		if err != nil {
			return fmt.Errorf("lookup: %w", err)
		}
		counted := 0
		for _, v := range profile.Velocity {
			counted += int(v.Total) //nolint:gosec // thousands
		}
		switch {
		case counted < told[n]:
			wrong = append(wrong, fmt.Errorf("LOST: %d events of one number were acknowledged, %d are counted", told[n], counted))
		case counted > told[n]+open[n]:
			wrong = append(wrong, fmt.Errorf("COUNTED TWICE: %d events of one number were acknowledged and %d are of unknown fate, %d are counted", told[n], open[n], counted))
		}
	}
	return errors.Join(wrong...)
}

// crowd is writers that send event after event, each again under its Idempotency-Key until it is answered. They stop
// at a gate whenever the server is gone.
type crowd struct {
	*ledger
	writers int

	mu     sync.Mutex
	turn   *sync.Cond
	client *api.Client // nil while the gate is closed; guarded by mu, as the rest
	parked int         // writers at the gate
	quit   bool        // no new events
	failed error       // a refusal that should not be

	done sync.WaitGroup
}

func newCrowd(writers int) *crowd {
	c := &crowd{ledger: new(ledger), writers: writers}
	c.turn = sync.NewCond(&c.mu)
	return c
}

// run starts the writers.
func (c *crowd) run(ctx context.Context) {
	for w := range c.writers {
		c.done.Go(func() { c.write(ctx, w) })
	}
}

// open lets the writers at a server; a nil client closes the gate.
func (c *crowd) open(to *api.Client) {
	c.mu.Lock()
	c.client = to
	c.mu.Unlock()
	c.turn.Broadcast()
}

// park closes the gate and waits until every writer stands at it.
func (c *crowd) park() {
	c.open(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.parked < c.writers {
		c.turn.Wait()
	}
}

// gate waits for a server. It returns nil when there is nothing more to send: an event that was begun is finished first.
func (c *crowd) gate(begun bool) *api.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parked++
	c.turn.Broadcast()
	for c.client == nil && (!c.quit || begun) {
		c.turn.Wait()
	}
	if c.quit && !begun {
		return nil // stays parked
	}
	c.parked--
	return c.client
}

// sent is an event under its Idempotency-Key.
type sent struct {
	number int
	line   api.BatchLine
}

// write sends one event, or at times a batch of several, again and again until all are answered.
func (c *crowd) write(ctx context.Context, w int) {
	random := mathrand.New(mathrand.NewPCG(uint64(w), 0)) //nolint:gosec // made-up traffic
	for {
		to := c.gate(false)
		if to == nil {
			return
		}
		open, batch := make([]sent, 1), random.IntN(4) == 0
		if batch {
			open = make([]sent, 1+random.IntN(20))
		}
		for i := range open {
			n := random.IntN(numbers)
			open[i] = sent{n, api.BatchLine{AssessmentRequest: event(n, random.IntN(500)), IdempotencyKey: rand.Text()}}
			c.begin(n)
		}
		for {
			var err error
			if open, err = c.send(ctx, to, batch, open); err != nil {
				c.fail(fmt.Errorf("refused: %w", err))
			}
			if len(open) == 0 {
				break
			}
			if to = c.gate(true); ctx.Err() != nil {
				return
			}
		}
	}
}

// send sends events once, as a batch or one by itself. It returns those that are to be sent again, and an error where one was
// refused that should not be.
func (c *crowd) send(ctx context.Context, to *api.Client, batch bool, all []sent) (again []sent, refused error) {
	answers := make([]error, len(all))
	for i := range answers {
		c.attempt()
		answers[i] = errNoAnswer
	}
	if batch {
		for a, err := range to.AssessBatch(ctx, lines(all)) {
			if err != nil {
				break
			}
			answers[a.Line-1] = a.Err()
		}
	} else {
		_, answers[0] = to.Assess(ctx, all[0].line.AssessmentRequest, api.IdempotencyKey(all[0].line.IdempotencyKey))
	}
	for i, err := range answers {
		var why *api.Error
		switch {
		case err == nil:
			c.acknowledge(all[i].number)
		case errors.As(err, &why) && why.Status != http.StatusServiceUnavailable && !errors.Is(err, api.ErrInFlight):
			refused = err
		default:
			again = append(again, all[i])
		}
	}
	return again, refused
}

var errNoAnswer = errors.New("a line has no answer")

func lines(all []sent) iter.Seq2[api.BatchLine, error] {
	return func(yield func(api.BatchLine, error) bool) {
		for i := range all {
			if !yield(all[i].line, nil) {
				return
			}
		}
	}
}

func (c *crowd) fail(err error) {
	c.mu.Lock()
	c.failed = err
	c.mu.Unlock()
}

// finish has every event that was begun answered, and ends the writers.
func (c *crowd) finish() error {
	c.mu.Lock()
	c.quit = true
	c.mu.Unlock()
	c.turn.Broadcast()
	c.done.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}
