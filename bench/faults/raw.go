package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// conn is the least that can send requests and read answers, so that the load costs the machine less than the server.
type conn struct {
	net.Conn
	in  *bufio.Reader
	out bytes.Buffer
}

func dial(ctx context.Context, address string) (*conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, in: bufio.NewReader(c)}, nil
}

// body is an event of one of 1,100 numbers that nobody has.
func body(n int) string {
	phone := fmt.Sprintf("+1 202 555 01%02d", n%100)
	if n%11 != 0 {
		phone = fmt.Sprintf("+44 7700 900%03d", n/11%1000)
	}
	return fmt.Sprintf(`{"phone_number":%q,"event":"sign_in","account_id":"a%d","device_id":"d%d","ip":"198.51.100.%d"}`, phone, n%2000, n%1500, n%250)
}

// post sends an event and returns the status of the answer.
func (c *conn) post(text string) (status int, err error) {
	c.out.Reset()
	fmt.Fprintf(&c.out, "POST /v1/assessments HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := c.Write(c.out.Bytes()); err != nil {
		return 0, err
	}
	line, err := c.in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if f := strings.Fields(line); len(f) > 1 {
		status, _ = strconv.Atoi(f[1])
	}
	length := int64(0)
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
		if n, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			length, _ = strconv.ParseInt(strings.TrimSpace(n), 10, 64)
		}
	}
	_, err = io.CopyN(io.Discard, c.in, length)
	return status, err
}

// result is what a load met.
type result struct {
	answered atomic.Int64 // with 200
	shed     atomic.Int64 // with 429 or 503
	other    atomic.Int64 // with anything else
	broken   atomic.Int64 // connections that ended before an answer

	mu    sync.Mutex
	times []time.Duration // of answers with 200; guarded by mu
	lags  []time.Duration // how late the client itself was, of events that nothing else held up; guarded by mu
}

// percentile returns the time that so many of a hundred took at most.
func percentile(times []time.Duration, p float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[min(int(float64(len(times))*p/100), len(times)-1)]
}

// summary is what a load met, in figures.
type summary struct {
	Answered, Shed, Other, Broken int64
	P50, P99                      time.Duration // of answers with 200
	Lag99                         time.Duration // of the client's own lateness
}

func (r *result) summary() summary {
	r.mu.Lock()
	defer r.mu.Unlock()
	return summary{
		r.answered.Load(), r.shed.Load(), r.other.Load(), r.broken.Load(),
		percentile(r.times, 50), percentile(r.times, 99), percentile(r.lags, 99),
	}
}

func (r *result) late(lag time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lags = append(r.lags, lag)
}

func (r *result) add(status int, err error, took time.Duration) {
	switch {
	case err != nil:
		r.broken.Add(1)
	case status == 200:
		r.answered.Add(1)
		r.mu.Lock()
		r.times = append(r.times, took)
		r.mu.Unlock()
	case status == 429 || status == 503:
		r.shed.Add(1)
	default:
		r.other.Add(1)
	}
}

// ask sends an event on a connection, a new one where c is nil, and counts what comes of it; what it took counts from since on. It
// returns the connection to go on with, nil when that broke.
func (r *result) ask(ctx context.Context, address string, c *conn, text string, since time.Time) *conn {
	if c == nil {
		var err error
		if c, err = dial(ctx, address); err != nil {
			r.broken.Add(1)
			return nil
		}
	}
	status, err := c.post(text)
	r.add(status, err, time.Since(since))
	if err != nil {
		_ = c.Close()
		return nil
	}
	return c
}

// press sends events over so many connections, each as fast as it is answered, for some time.
func press(ctx context.Context, address string, conns int, span time.Duration) *result {
	r := new(result)
	ctx, cancel := context.WithTimeout(ctx, span)
	defer cancel()
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			var c *conn
			for n := i; ctx.Err() == nil; n += conns {
				if c = r.ask(ctx, address, c, body(n), time.Now()); c == nil {
					_ = pause(ctx, 10*time.Millisecond)
				}
			}
			if c != nil {
				_ = c.Close()
			}
		})
	}
	wg.Wait()
	return r
}

// pace sends events at a rate over so many connections, for some time. What an event takes counts from when it was due, so that a server
// that makes everybody wait does not look quick. But where a connection was free then and the client woke up late, since its machine was busy,
// that is the client's own lag, and is counted apart. The connections are there before.
func pace(ctx context.Context, address string, conns int, rate float64, span time.Duration, event func(n int) string) *result {
	r := new(result)
	all := make([]*conn, conns)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i], _ = dial(ctx, address) }) // one that is missing is tried again
	}
	wg.Wait()
	_ = pause(ctx, time.Second) // the server has to take them in
	began := time.Now()
	every := time.Duration(float64(time.Second) / rate)
	var next atomic.Int64
	for _, c := range all {
		wg.Go(func() {
			for {
				n := next.Add(1) - 1
				due := began.Add(time.Duration(n) * every)
				if due.Sub(began) > span {
					break
				}
				if wait := time.Until(due); wait > 0 {
					if pause(ctx, wait) != nil {
						break
					}
					r.late(time.Since(due))
					due = time.Now()
				}
				c = r.ask(ctx, address, c, event(int(n)), due)
			}
			if c != nil {
				_ = c.Close()
			}
		})
	}
	wg.Wait()
	return r
}
