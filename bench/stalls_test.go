package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkStalls appends 4 KiB to a file and syncs it, so many times a second (0: as often as it goes), while all processors but one spin. stalled-% is the time, in
// percent, that a spinning goroutine lost in stretches of 3 ms and longer, though whoever syncs has a processor of its own: what the machine takes for syncs
// besides the time of whoever waits. p99-us is of the syncs. An operation is a sync; several thousand of them say enough. It needs two processors, and nothing else at work.
func BenchmarkStalls(b *testing.B) {
	for _, perSecond := range []int{500, 1000, 2000, 4000, 8000, 0} {
		b.Run(fmt.Sprint(perSecond), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "log"))
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			if runtime.GOMAXPROCS(0) < 2 {
				b.Skip("there is no processor to spare")
			}
			var done atomic.Bool
			var spinning sync.WaitGroup
			lost := make([]time.Duration, runtime.GOMAXPROCS(0)-1)
			for i := range lost {
				spinning.Go(func() { lost[i] = spin(&done) })
			}
			took := syncs(b, f, perSecond)
			done.Store(true)
			spinning.Wait()
			share := 0.0
			for _, d := range lost {
				share += d.Seconds() / b.Elapsed().Seconds() / float64(len(lost))
			}
			b.ReportMetric(100*share, "stalled-%")
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}

// spin uses a processor until it is done, and returns the time that it could not, in stretches of 3 ms and longer.
func spin(done *atomic.Bool) (lost time.Duration) {
	for last := time.Now(); !done.Load(); {
		now := time.Now()
		if gap := now.Sub(last); gap >= 3*time.Millisecond {
			lost += gap
		}
		last = now
	}
	return lost
}

// syncs appends to a file and syncs it, so many times a second, and returns what each took.
func syncs(b *testing.B, f *os.File, perSecond int) (took []time.Duration) {
	block := make([]byte, 4096)
	for due := time.Now(); b.Loop(); {
		if perSecond > 0 {
			due = due.Add(time.Second / time.Duration(perSecond))
			nap := syscall.NsecToTimespec(int64(max(time.Until(due), 0)))
			_ = syscall.Nanosleep(&nap, nil) // the runtime's timers are late by up to a millisecond
		}
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	return took
}
