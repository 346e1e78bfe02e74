package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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

func (c *crowd) write(ctx context.Context, w int) {
	random := mathrand.New(mathrand.NewPCG(uint64(w), 0)) //nolint:gosec // made-up traffic
	for {
		to := c.gate(false)
		if to == nil {
			return
		}
		n, key, ev := random.IntN(numbers), rand.Text(), event(random.IntN(numbers), random.IntN(500))
		ev.PhoneNumber = number(n)
		c.begin(n)
		for {
			c.attempt()
			_, err := to.Assess(ctx, ev, api.IdempotencyKey(key))
			if err == nil {
				c.acknowledge(n)
				break
			}
			var refused *api.Error
			if errors.As(err, &refused) && refused.Status != http.StatusServiceUnavailable && !errors.Is(err, api.ErrInFlight) {
				c.fail(fmt.Errorf("refused: %w", err))
			}
			if to = c.gate(true); ctx.Err() != nil {
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
