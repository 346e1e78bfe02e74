package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sample is what the server held at some moment.
type sample struct {
	at         time.Duration
	rss        float64 // MiB
	goroutines float64
	files      float64
}

// soak keeps the server at half of what it bears, and watches its memory, goroutines and files. The first fifth is warm-up. Bars
// that need an hour hold in the long form only.
func soak(b *bench) error {
	p, err := b.start(filepath.Join(b.folder, "soak"))
	if err != nil {
		return err
	}
	err = soakOf(b, p)
	return errors.Join(err, p.drain())
}

func soakOf(b *bench, p *process) error {
	address := strings.TrimPrefix(p.url, "http://")
	span := b.pickSpan(time.Minute, time.Hour)
	l := bear(b, address, min(span/10, 20*time.Second))
	done := make(chan *result, 1)
	go func() { done <- pace(b.ctx, address, 32, l.rate/2, span) }()
	samples, err := watch(b.ctx, p, done, span)
	if err != nil {
		return err
	}
	r := <-done
	b.report("half load", p, r)
	settled := samples[len(samples)/5:]
	slope := slopePerHour(settled)
	first, last := settled[0], settled[len(settled)-1]
	b.printf("soak: %v at %.0f events/s; memory %.0f to %.0f MiB, slope %.2f %%/h; goroutines %.0f to %.0f; files %.0f to %.0f",
		span, l.rate/2, first.rss, last.rss, slope, first.goroutines, last.goroutines, first.files, last.files)
	return errors.Join(sound("half load", r),
		b.longOnly(atMost("slope of the memory in %/h", slope, 1)),
		atMost("more goroutines", last.goroutines-first.goroutines, 20),
		atMost("more files", last.files-first.files, 20))
}

// watch samples a process until its load is through.
func watch(ctx context.Context, p *process, done chan *result, span time.Duration) ([]sample, error) {
	began := time.Now()
	var all []sample
	for len(done) == 0 {
		if err := pause(ctx, span/120); err != nil {
			return nil, err
		}
		goroutines, err := p.metric(ctx, "go_goroutines")
		if err != nil {
			return nil, err
		}
		u := p.use()
		all = append(all, sample{time.Since(began), float64(u.rss) / mib, goroutines, float64(u.files)})
	}
	if len(all) < 10 {
		return nil, errors.New("too few samples")
	}
	return all[:len(all)-1], nil // the last one saw the load end
}

// metric asks a server for one of its metrics.
func (p *process) metric(ctx context.Context, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}

// slopePerHour fits a line through the memory, and returns its rise in percent of the mean an hour.
func slopePerHour(all []sample) float64 {
	var x, y, xx, xy, n float64
	for _, s := range all {
		h := s.at.Hours()
		x, y, xx, xy, n = x+h, y+s.rss, xx+h*h, xy+h*s.rss, n+1
	}
	return (n*xy - x*y) / (n*xx - x*x) / (y / n) * 100
}
