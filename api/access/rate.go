package access

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is how many requests a key may make in a window: all at once, or spread. Its
// text is a number, a slash, and s, m or h: "50/s".
type Rate struct {
	Most   int
	Window time.Duration // a second, a minute or an hour
}

const maxRate = 1_000_000

var windows = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// ParseRate reads the text of a rate.
func ParseRate(text string) (Rate, error) {
	count, unit, _ := strings.Cut(text, "/")
	n, err := strconv.Atoi(count)
	r := Rate{n, windows[unit]}
	if err != nil || r.String() != text {
		return Rate{}, errRate
	}
	return r, r.check()
}

var errRate = &TermsError{"rate", "not a rate", "a number a second, minute or hour, such as 50/s, up to 1000000"}

func (r Rate) check() error {
	if r.Most < 1 || r.Most > maxRate || r.unit() == "" {
		return errRate
	}
	return nil
}

func (r Rate) unit() string {
	for unit, window := range windows {
		if window == r.Window {
			return unit
		}
	}
	return ""
}

// String returns the text of the rate.
func (r Rate) String() string { return fmt.Sprintf("%d/%s", r.Most, r.unit()) }

// MarshalText returns the text of the rate.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the text of a rate.
func (r *Rate) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRate(string(text))
	return err
}

// bucket is a rate's state: the time at which everything asked for so far would have been
// asked for at a steady pace. It may run ahead of now by one window. (GCRA: one word, no timer.)
type bucket struct{ ahead time.Time }

// take asks for one request at now. left is how many more would be let through at once.
// wait is, of one that is not, how long until it would be.
func (b *bucket) take(r Rate, now time.Time) (ok bool, left int, wait time.Duration) {
	pace := r.Window / time.Duration(r.Most)
	if b.ahead.Before(now) {
		b.ahead = now
	}
	full := now.Add(r.Window) // that far ahead, nothing is left
	if b.ahead.After(full) {  // the clock was put back, or the rate is another one now
		b.ahead = full
	}
	if next := b.ahead.Add(pace); !next.After(full) {
		b.ahead = next
		return true, int(full.Sub(next) / pace), 0
	}
	return false, 0, b.ahead.Add(pace).Sub(full)
}

// full returns how long until the whole rate is there again.
func (b *bucket) full(now time.Time) time.Duration { return max(b.ahead.Sub(now), 0) }
