package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client asks a ringfence server. It is safe for concurrent use.
//
// Calls that change something are sent with an idempotency key, and sent again with the
// same key when the answer did not arrive or the server could not give it: the event is
// counted once. The error of a call that was answered is an *Error.
type Client struct {
	// BaseURL is the address of the server, such as http://127.0.0.1:8080.
	BaseURL string

	// Key is shown to a server that asks callers for one, as it came from ringfence apikeys create. "" shows none.
	Key string

	// HTTP sends requests. Default: a client that gives up on a request after 10 s
	// and follows no redirects, since they could carry a number elsewhere.
	HTTP *http.Client

	// Attempts is how often a request is sent at most. Default: 4.
	Attempts int

	wait     func(context.Context, time.Duration) error // nil is sleep
	patience time.Duration                              // 0 is headPatience
}

// Waits between attempts: what the server asks for, and besides a random share of a bound that
// doubles, so that clients who were refused together do not come back together.
const (
	firstWait       = 100 * time.Millisecond
	longestWait     = 2 * time.Second
	longestRetry    = 10 * longestWait // that a server may ask for
	longestAnswer   = 4 << 20          // bytes
	defaultAttempts = 4
)

var defaultHTTP = &http.Client{
	Timeout:       10 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Option changes one call.
type Option func(*request)

// IdempotencyKey makes calls with the same key and request count once, also
// across processes, for 24 hours. Without it, a call has a key of its own. 1 to 255
// visible ASCII characters.
func IdempotencyKey(key string) Option { return func(r *request) { r.key = key } }

// Assess counts an event and says what to make of it.
func (c *Client) Assess(ctx context.Context, req AssessmentRequest, opts ...Option) (*Assessment, error) {
	return send[Assessment](ctx, c, http.MethodPost, "/v1/assessments", &req, opts)
}

// Outcome says what became of an assessed event.
func (c *Client) Outcome(ctx context.Context, req OutcomeRequest, opts ...Option) (*OutcomeAnswer, error) {
	return send[OutcomeAnswer](ctx, c, http.MethodPost, "/v1/outcomes", &req, opts)
}

// Outcomes says what became of up to 500 events. All are checked before any is recorded; then each
// is recorded by itself, those of one assessment in order, and has a result by
// itself, in the same order: see OutcomeResult.Err.
func (c *Client) Outcomes(ctx context.Context, reqs []OutcomeRequest, opts ...Option) ([]OutcomeResult, error) {
	answer, err := send[[]OutcomeResult](ctx, c, http.MethodPost, "/v1/outcomes", append([]OutcomeRequest{}, reqs...), opts)
	if err != nil {
		return nil, err
	}
	return *answer, nil
}

// Assessment returns an assessment as it was logged, with its reasons and what became of
// it. ErrUnknownAssessment for an id that is not in the log. It DOES NOT count.
func (c *Client) Assessment(ctx context.Context, id string) (*LoggedAssessment, error) {
	return send[LoggedAssessment](ctx, c, http.MethodGet, "/v1/assessments/"+url.PathEscape(id), nil, nil)
}

// CheckLink says how an account stands to a number. It DOES NOT count.
func (c *Client) CheckLink(ctx context.Context, req PhoneRequest) (*LinkAnswer, error) {
	return send[LinkAnswer](ctx, c, http.MethodPost, "/v1/links/check", &req, nil)
}

// Unlink takes an account off a number.
func (c *Client) Unlink(ctx context.Context, req PhoneRequest, opts ...Option) (*UnlinkAnswer, error) {
	return send[UnlinkAnswer](ctx, c, http.MethodPost, "/v1/links/unlink", &req, opts)
}

// Lookup says what is known of a number. It DOES NOT count.
func (c *Client) Lookup(ctx context.Context, req PhoneRequest) (*Profile, error) {
	return send[Profile](ctx, c, http.MethodPost, "/v1/numbers/lookup", &req, nil)
}

// Release begins a new generation of a number that was recycled or given up.
func (c *Client) Release(ctx context.Context, req PhoneRequest, opts ...Option) (*ReleaseAnswer, error) {
	return send[ReleaseAnswer](ctx, c, http.MethodPost, "/v1/numbers/release", &req, opts)
}

// Erase forgets a number. The answer does not tell whether it was known.
func (c *Client) Erase(ctx context.Context, req PhoneRequest, opts ...Option) (*EraseAnswer, error) {
	return send[EraseAnswer](ctx, c, http.MethodPost, "/v1/numbers/erase", &req, opts)
}

// Privacy says for how long the domain of the key keeps what, and under which keys.
func (c *Client) Privacy(ctx context.Context) (*Privacy, error) {
	return send[Privacy](ctx, c, http.MethodGet, "/v1/privacy", nil, nil)
}

// AddEntry puts a number on a list, or replaces its entry.
func (c *Client) AddEntry(ctx context.Context, list string, entry ListEntry, opts ...Option) (*ListAnswer, error) {
	return send[ListAnswer](ctx, c, http.MethodPost, entries(list), &entry, opts)
}

// RemoveEntry takes an entry off a list, by the token that Entries or an
// assessment told. After a lost answer it may say that nothing was there.
func (c *Client) RemoveEntry(ctx context.Context, list, token string) (*RemoveAnswer, error) {
	return send[RemoveAnswer](ctx, c, http.MethodDelete, entries(list)+"?token="+url.QueryEscape(token), nil, nil)
}

// Entries goes through a list, a page at a time. It ends with the first error.
func (c *Client) Entries(ctx context.Context, list string) iter.Seq2[ListEntry, error] {
	return func(yield func(ListEntry, error) bool) {
		cursor := ""
		for {
			page, err := send[ListPage](ctx, c, http.MethodGet, entries(list)+"?cursor="+url.QueryEscape(cursor), nil, nil)
			if err != nil {
				yield(ListEntry{}, err)
				return
			}
			for _, e := range page.Entries {
				if !yield(e, nil) {
					return
				}
			}
			if cursor = page.Cursor; cursor == "" {
				return
			}
		}
	}
}

// Lists returns the names of all lists, sorted.
func (c *Client) Lists(ctx context.Context) ([]string, error) {
	answer, err := send[ListNames](ctx, c, http.MethodGet, "/v1/lists", nil, nil)
	if err != nil {
		return nil, err
	}
	return answer.Lists, nil
}

// Ready returns nil when the server takes requests. It asks once.
func (c *Client) Ready(ctx context.Context) error {
	once := *c
	once.Attempts = 1
	_, err := once.try(ctx, &request{method: http.MethodGet, path: "/readyz"})
	return err
}

func entries(list string) string { return "/v1/lists/" + url.PathEscape(list) + "/entries" }

// request is one call on its way.
type request struct {
	method, path string
	body         []byte
	kind         string // of the body
	key          string // "" for none
	match        string // If-Match, "" for none
}

// send makes a call, as often as it takes, and reads its answer.
func send[Answer any](ctx context.Context, c *Client, method, path string, body any, opts []Option) (*Answer, error) {
	r := &request{method: method, path: path}
	if body != nil {
		var err error
		if r.body, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("ringfence: cannot encode the request: %w", err)
		}
		r.kind, r.key = "application/json", rand.Text()
	}
	for _, o := range opts {
		o(r)
	}
	return answerOf[Answer](ctx, c, r)
}

// answerOf sends a request, as often as it takes, and reads its answer.
func answerOf[Answer any](ctx context.Context, c *Client, r *request) (*Answer, error) {
	text, err := c.try(ctx, r)
	if err != nil {
		return nil, err
	}
	answer := new(Answer)
	if err := json.Unmarshal(text, answer); err != nil {
		return nil, errNotOurs
	}
	return answer, nil
}

// try sends a request until it is answered, refused for good, or sent often enough.
func (c *Client) try(ctx context.Context, r *request) ([]byte, error) {
	bound := firstWait
	for attempt := 1; ; attempt++ {
		text, err := c.once(ctx, r)
		if err == nil || attempt >= c.attempts() || ctx.Err() != nil || !again(err) {
			return text, err
		}
		if c.backOff(ctx, err, bound) != nil {
			return nil, err
		}
		bound = min(2*bound, longestWait)
	}
}

func (c *Client) attempts() int {
	if c.Attempts == 0 {
		return defaultAttempts
	}
	return c.Attempts
}

// backOff waits for as long as the server asked, and a random time up to a bound.
func (c *Client) backOff(ctx context.Context, err error, bound time.Duration) error {
	pause := mathrand.N(bound) //nolint:gosec // spreads load, hides nothing
	var e *Error
	if errors.As(err, &e) {
		pause += min(e.RetryAfter, longestRetry)
	}
	return c.pause(ctx, pause)
}

// again reports whether a request may get another answer later.
func again(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return !errors.Is(err, errAddress) // no answer
	}
	switch e.Status {
	case http.StatusTooManyRequests:
		return e.RetryAfter <= longestRetry
	case http.StatusRequestTimeout, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return errors.Is(err, ErrInFlight)
}

func (c *Client) pause(ctx context.Context, d time.Duration) error {
	if c.wait != nil {
		return c.wait(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// once sends a request and reads what is answered.
func (c *Client) once(ctx context.Context, r *request) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, c.url(r.path), bytes.NewReader(r.body))
	if err != nil {
		return nil, errAddress
	}
	if r.body != nil {
		req.Header.Set("Content-Type", r.kind)
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	if r.match != "" {
		req.Header.Set("If-Match", r.match)
	}
	c.show(req)
	res, err := c.sender().Do(req)
	if err != nil {
		return nil, unanswered(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, longestAnswer))
	if err != nil {
		return nil, fmt.Errorf("ringfence: the answer ends early: %w", err)
	}
	if res.StatusCode/100 != 2 {
		return nil, refused(res, text)
	}
	return text, nil
}

var errAddress = errors.New("ringfence: BaseURL is not the address of a server")

// unanswered says why there is no answer, without the path that was asked for: whoever mistakes
// a number for an id must not find it in a log.
func unanswered(err error) error {
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err
	}
	return fmt.Errorf("ringfence: no answer: %w", err)
}

// show puts the key where the server looks for it.
func (c *Client) show(req *http.Request) {
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
}

func (c *Client) url(path string) string { return strings.TrimSuffix(c.BaseURL, "/") + path }

func (c *Client) sender() *http.Client {
	if c.HTTP == nil {
		return defaultHTTP
	}
	return c.HTTP
}

// refused makes an error of an answer that is no success.
func refused(res *http.Response, text []byte) *Error {
	e := new(Error)
	if json.Unmarshal(text, &e.Problem) != nil || !strings.HasPrefix(e.Type, problemType) {
		e.Problem = Problem{Title: http.StatusText(res.StatusCode)} // from somebody in between
	}
	e.Status = res.StatusCode
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}
