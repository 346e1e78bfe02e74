package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringfence/ringfence/bench/load"
)

// What a soaked server may keep: little, so that all of it is full within the first minutes, and what still grows then is a leak. Its
// log loses the oldest minutes as new ones come.
var soaked = []string{
	"--cache-bytes", "2097152", "--dirty-bytes", "134217728", "--block-cache-bytes", "1048576", "--memtable-bytes", "1048576", "--log-bytes", "16777216",
}

// How the people of a soak are met: the regulars in nearly every event, and in one of seldomEvery one of the many, in turn.
const (
	regulars    = 190
	seldomEvery = 20
	many        = 10_000
)

// people is an event of people who are all known once the warm-up is through, and whose records hardly grow then: one gets a hundred bytes longer
// with every doubling of its events. The regulars are few; each of the many is met once in 100 seconds at 2,000 events a second. With twice as many, records and
// log came near 64 MiB, where Pebble begins a second level, and its tables were open for most of a minute at a time; six times as many, met once in ten minutes,
// had records that still grew after two hours.
func people(n int) string {
	numbers, who, device := load.Numbers(), n%regulars, n%regulars
	if n%seldomEvery == 0 {
		who = regulars + n/seldomEvery%many
		device = who * 7 % many
	}
	return fmt.Sprintf(`{"phone_number":%q,"event":"sign_in","account_id":"a%d","device_id":"d%d","ip":"198.18.%d.%d"}`,
		numbers[who%len(numbers)], who, device, who/250%250, n%250)
}

// level is something that is watched: what of it must not grow, and where it comes from.
type level struct {
	name string
	unit float64
	read func(use, map[string]float64) float64
}

func metricOf(name string) func(use, map[string]float64) float64 {
	return func(_ use, m map[string]float64) float64 { return m[name] }
}

// Places of levels that have a bar. A request under way has a goroutine that waits for its connection to break: how many there are at the moment of a
// sample is chance, so they are left out.
const (
	levelRSS = iota
	levelGoroutines
	levelFiles
)

var levels = []level{
	{"RSS MiB", mib, func(u use, _ map[string]float64) float64 { return float64(u.rss) }},
	{"goroutines", 1, func(_ use, m map[string]float64) float64 {
		return m["go_goroutines"] - m["ringfence_http_requests_in_flight"]
	}},
	{"files", 1, func(u use, _ map[string]float64) float64 { return float64(u.files) }},
	{"program MiB", mib, func(u use, _ map[string]float64) float64 { return float64(u.file) }},
	{"next GC MiB", mib, metricOf("go_memstats_next_gc_bytes")},
	{"heap kept MiB", mib, func(_ use, m map[string]float64) float64 {
		return m["go_memstats_heap_idle_bytes"] - m["go_memstats_heap_released_bytes"]
	}},
	{"heap in use MiB", mib, metricOf("go_memstats_heap_inuse_bytes")},
	{"stacks MiB", mib, metricOf("go_memstats_stack_inuse_bytes")},
	{"records MiB", mib, metricOf("ringfence_record_cache_bytes")},
	{"spare MiB", mib, metricOf("ringfence_record_spare_bytes")},
	{"blocks MiB", mib, metricOf("ringfence_block_cache_bytes")},
	{"memtables MiB", mib, metricOf("ringfence_memtable_bytes")},
	{"log MiB", mib, metricOf("ringfence_log_bytes")},
	{"tables", 1, metricOf("ringfence_tables")},
	{"open tables", 1, metricOf("ringfence_open_tables")},
	{"zombie tables", 1, metricOf("ringfence_zombie_tables")},
	{"table reads", 1, metricOf("ringfence_table_reads")},
}

// sample is what the server held at some moment, by level.
type sample struct {
	at   time.Duration
	held []float64
}

// soak keeps the server at half of what it bears, or at the rate that was given, and watches what it holds. The first two fifths are warm-up. The
// bar of the memory's slope needs an hour and holds in the long form only.
func soak(b *bench) error {
	p, err := b.start(filepath.Join(b.folder, "soak"), soaked...)
	if err != nil {
		return err
	}
	err = soakOf(b, p)
	return errors.Join(err, p.drain())
}

func soakOf(b *bench, p *process) error {
	address := strings.TrimPrefix(p.url, "http://")
	span := b.pickSpan(time.Minute, time.Hour)
	rate := b.rate
	if rate == 0 {
		rate = bear(b, address, min(span/10, 20*time.Second)).rate / 2
	}
	b.printf("soak: %v at %.0f events/s", span, rate)
	done := make(chan *result, 1)
	go func() { done <- pace(b.ctx, address, 32, rate, span, people) }()
	samples, err := watch(b, p, done, span)
	if err != nil {
		return err
	}
	r := <-done
	b.report("soaked", p, r.summary())
	settled := samples[2*len(samples)/5:]
	for i, l := range levels {
		first, last := ends(settled, i)
		slope, give := trend(settled, i)
		b.printf("%-16s %8.1f at first, %8.1f at last; slope %+6.2f %%/h, give or take %.2f", l.name, first, last, slope, give)
	}
	slope, _ := trend(settled, levelRSS)
	return errors.Join(sound("soaked", r.summary()),
		b.longOnly(atMost("slope of the memory in %/h", slope, 1)),
		atMost("more goroutines", grown(settled, levelGoroutines), 10),
		atMost("more files", grown(settled, levelFiles), 20))
}

// looks is how often a process is looked at in a run: often, since what it holds goes up and down with each collection of garbage.
const looks = 1200

// watch samples a process until its load is through, and prints a sample in fifty.
func watch(b *bench, p *process, done chan *result, span time.Duration) ([]sample, error) {
	began := time.Now()
	var all []sample
	var names []string
	for _, l := range levels {
		names = append(names, l.name)
	}
	b.printf("%8s: %s", "time", strings.Join(names, ", "))
	for len(done) == 0 {
		if err := pause(b.ctx, span/looks); err != nil {
			return nil, err
		}
		metrics, err := p.metrics(b.ctx)
		if err != nil {
			return nil, err
		}
		s := sample{at: time.Since(began)}
		text := ""
		for _, l := range levels {
			s.held = append(s.held, l.read(p.use(), metrics)/l.unit)
			text += fmt.Sprintf(" %6.1f", s.held[len(s.held)-1])
		}
		if all = append(all, s); len(all)%50 == 0 {
			b.printf("%8v:%s", s.at.Round(time.Second), text)
		}
	}
	if len(all) < looks/10 {
		return nil, errors.New("too few samples")
	}
	return all[:len(all)-1], nil // the last one saw the load end
}

// metrics asks a server for its metrics that have no labels.
func (p *process) metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = v
		}
	}
	for _, l := range []string{"go_goroutines", "ringfence_http_requests_in_flight", "ringfence_tables"} {
		if _, ok := all[l]; !ok {
			return nil, fmt.Errorf("there is no metric %s", l)
		}
	}
	return all, nil
}

// ends returns the medians of a level in the first and in the last tenth of the samples.
func ends(all []sample, level int) (first, last float64) {
	tenth := max(len(all)/10, 1)
	return middle(all[:tenth], level).held[level], middle(all[len(all)-tenth:], level).held[level]
}

func grown(all []sample, level int) float64 {
	first, last := ends(all, level)
	return last - first
}

// middle returns the sample in the middle of a few, by level, at the time of the one in the middle.
func middle(few []sample, level int) sample {
	at := few[len(few)/2].at
	sorted := slices.SortedFunc(slices.Values(few), func(a, b sample) int { return int(math.Copysign(1, a.held[level]-b.held[level])) })
	return sample{at, sorted[len(sorted)/2].held}
}

// points is how many parts of a run a line is fitted through: what one part is by accident is not what the next one is.
const points = 24

// trend fits a line through the medians of a level, and returns its rise in percent of the mean an hour, with the standard error of that.
func trend(all []sample, level int) (slope, give float64) {
	var x, y []float64
	for part := range points {
		few := all[part*len(all)/points : (part+1)*len(all)/points]
		if len(few) > 0 {
			m := middle(few, level)
			x, y = append(x, m.at.Hours()), append(y, m.held[level])
		}
	}
	mx, my := mean(x), mean(y)
	var xx, xy, rest float64
	for i := range x {
		xx, xy = xx+(x[i]-mx)*(x[i]-mx), xy+(x[i]-mx)*(y[i]-my)
	}
	if my == 0 || xx == 0 || len(x) < 3 {
		return 0, 0
	}
	slope = xy / xx
	for i := range x {
		off := y[i] - my - slope*(x[i]-mx)
		rest += off * off
	}
	return slope / my * 100, math.Sqrt(rest/float64(len(x)-2)/xx) / my * 100
}

func mean(all []float64) float64 {
	sum := 0.0
	for _, v := range all {
		sum += v
	}
	return sum / float64(len(all))
}
