package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ringfence/ringfence/api"
)

// full lets a small disk fill up: first down to the reserve, below which the server has to refuse changes with 503, answer reads, start,
// and go on when there is room again; then to the last byte without a reserve, where the server has to end by itself, and with
// room again has to have all that it acknowledged.
func full(b *bench) error {
	if os.Getuid() != 0 {
		return fmt.Errorf("%w: only root can mount a small disk; run it as root, as CI does", errSkipped)
	}
	if err := b.onDisk(320*mib, belowReserve); err != nil {
		return err
	}
	return b.onDisk(96*mib, fillUp) // so small that there is no ballast
}

// onDisk runs something on a disk in memory of so many bytes.
func (b *bench) onDisk(size int, run func(b *bench, disk string) error) error {
	disk := filepath.Join(b.folder, fmt.Sprint("disk", size/mib))
	if err := os.Mkdir(disk, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("ringfence-faults", disk, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		return fmt.Errorf("%w: this machine does not let root mount a disk: %w", errSkipped, err)
	}
	return errors.Join(run(b, disk), syscall.Unmount(disk, 0))
}

// smallLogs keeps what Pebble reserves for a log, 110 % of a memtable, from being most of the disk: then the filler is, and there is
// room again once it is gone.
const smallLogs = "--memtable-bytes=8388608"

func belowReserve(b *bench, disk string) error {
	const reserve, left = 48 * mib, 32 * mib
	data, filler := filepath.Join(disk, "data"), filepath.Join(disk, "filler")
	flags := []string{fmt.Sprint("--disk-reserve=", reserve), smallLogs}
	p, err := b.start(data, flags...)
	if err != nil {
		return err
	}
	c := newCrowd(16)
	c.run(b.ctx)
	c.open(client(p.url))
	if err := pause(b.ctx, time.Second); err != nil {
		return errors.Join(err, p.end(syscall.SIGKILL))
	}
	full := func() error { return fill(disk, filler, left) } // again and again: the server gives room back, too
	if err := waitFor(b, p, http.StatusServiceUnavailable, full); err != nil {
		return errors.Join(err, p.end(syscall.SIGKILL))
	}
	c.park()
	if err := errors.Join(c.check(b.ctx, client(p.url)), p.drain()); err != nil {
		return fmt.Errorf("below the reserve: %w", err)
	}
	if p, err = b.start(data, flags...); err != nil {
		return fmt.Errorf("below the reserve: %w", err)
	}
	if err := errors.Join(c.check(b.ctx, client(p.url)), waitFor(b, p, http.StatusServiceUnavailable, full), os.Remove(filler), waitFor(b, p, http.StatusOK, nil)); err != nil {
		return errors.Join(err, p.end(syscall.SIGKILL))
	}
	c.open(client(p.url))
	if err := errors.Join(c.finish(), c.check(b.ctx, client(p.url)), p.drain()); err != nil {
		return err
	}
	answers, _ := c.sums()
	b.printf("full: below the reserve 503, reads and a new start answered; with room again it goes on: %d events, each once", answers)
	return nil
}

// waitFor asks until a change is answered with a status, and does something before each time it asks. The event is none of the
// crowd's: it is about a number of its own.
func waitFor(b *bench, p *process, status int, before func() error) error {
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	for {
		if before != nil {
			if err := before(); err != nil {
				return err
			}
		}
		got := http.StatusOK
		_, err := client(p.url).Assess(ctx, api.AssessmentRequest{PhoneNumber: "+44 7700 900123", Event: "sign_in"})
		if refused := new(api.Error); errors.As(err, &refused) {
			got = refused.Status
		} else if err != nil {
			return err
		}
		if got == status {
			return nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("changes are answered with %d, not with %d: %w", got, status, err)
		}
	}
}

func fillUp(b *bench, disk string) error {
	data, filler := filepath.Join(disk, "data"), filepath.Join(disk, "filler")
	p, err := b.start(data, "--disk-reserve=-1", smallLogs)
	if err != nil {
		return err
	}
	c := newCrowd(16)
	c.run(b.ctx)
	c.open(client(p.url))
	if err := fill(disk, filler, 4*mib); err != nil {
		return errors.Join(err, p.end(syscall.SIGKILL))
	}
	took := time.Now()
	select {
	case <-p.dead:
	case <-time.After(2 * time.Minute):
		return errors.Join(errors.New("the disk is full and the server neither ended nor said so"), p.end(syscall.SIGKILL))
	}
	c.park()
	said := <-p.said
	var exit interface{ ExitCode() int }
	if !errors.As(p.err, &exit) || exit.ExitCode() <= 0 {
		return fmt.Errorf("the server ended with %w: %s", p.err, said)
	}
	answers, _ := c.sums()
	b.printf("full: ENOSPC after %v and %d acknowledged events: exit %d", time.Since(took).Round(time.Millisecond), answers, exit.ExitCode())
	if err := errors.Join(fill(disk, filler, 0), b.saysFull(data), os.Remove(filler)); err != nil {
		return err
	}
	if p, err = b.start(data, "--disk-reserve=-1", smallLogs); err != nil {
		return err
	}
	if err := c.check(b.ctx, client(p.url)); err != nil {
		return errors.Join(err, p.end(syscall.SIGKILL))
	}
	c.open(client(p.url))
	if err := errors.Join(c.finish(), c.check(b.ctx, client(p.url)), p.drain()); err != nil {
		return err
	}
	b.printf("full: with room again it opens and holds all of them, each once")
	return nil
}

// saysFull starts a server on a disk without room, as a supervisor would, and asks doctor: both have to say what is missing.
func (b *bench) saysFull(data string) error {
	const hint = "hint: make room on the disk"
	p, err := b.start(data, "--disk-reserve=-1", smallLogs)
	if err == nil {
		return errors.Join(errors.New("the server starts on a disk that is full"), p.end(syscall.SIGKILL))
	}
	if !strings.Contains(err.Error(), hint) {
		return fmt.Errorf("no hint at a start on a full disk: %w", err)
	}
	out, err := exec.CommandContext(b.ctx, b.bin, "doctor", "--data", data).Output() //nolint:gosec // a program of our own
	for _, says := range []string{"wrong  disk", "wrong  store", hint} {
		if !strings.Contains(string(out), says) {
			return fmt.Errorf("doctor says nothing of %q on a full disk: %s: %w", says, out, err)
		}
	}
	return nil
}

// fill makes a file longer until only so many bytes are left of a disk.
func fill(disk, filler string, left int64) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(disk, &s); err != nil {
		return err
	}
	more := int64(s.Bavail)*s.Bsize - left //nolint:gosec // a small disk
	if more <= 0 {
		return nil
	}
	f, err := os.OpenFile(filler, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // on a disk of our own
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, more))
	if errors.Is(err, syscall.ENOSPC) { // the server took the room in between
		err = nil
	}
	return errors.Join(err, f.Close())
}
