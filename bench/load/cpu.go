package load

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// CPU returns what the process has used so far, in the kernel too.
func CPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // a constant of ours is wrong
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// clockTick is the unit of times in /proc on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// CPUOf returns what another process has used so far, in whole ticks of 10 ms. Linux only.
func CPUOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything; behind it, utime and stime are 12 and 13.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(string(f))
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// RSS returns how many bytes of memory the process has at present, and at most had. Linux only.
func RSS() (now, peak int64, err error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, err
	}
	for line := range bytes.Lines(b) {
		for name, to := range map[string]*int64{"VmRSS:": &now, "VmHWM:": &peak} {
			if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
				n, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
				if err != nil {
					return 0, 0, err
				}
				*to = n << 10
			}
		}
	}
	return now, peak, nil
}

// Machine describes the machine in a few words, for tables.
func Machine() string {
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range bytes.Lines(b) {
			if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.HasPrefix(name, []byte("model name")) {
				model = string(bytes.TrimSpace(value))
				break
			}
		}
	}
	busy := ""
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		busy = ", load before " + string(bytes.Fields(b)[0])
	}
	return fmt.Sprintf("%d x %s, %s/%s, %s%s", runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, runtime.Version(), busy)
}
