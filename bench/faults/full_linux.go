package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Sizes of the small disk, in bytes.
const (
	diskSize = 96 << 20
	diskLeft = 4 << 20 // what the filler leaves
)

// full lets the disk run full under 16 writers. The server has to end by itself, and with room again
// has to have all that it acknowledged.
func full(b *bench) error {
	if os.Getuid() != 0 {
		return fmt.Errorf("%w: only root can mount a small disk; run it as root, as CI does", errSkipped)
	}
	disk := filepath.Join(b.folder, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("ringfence-faults", disk, "tmpfs", 0, fmt.Sprintf("size=%d", diskSize)); err != nil {
		return fmt.Errorf("%w: this machine does not let root mount a disk: %w", errSkipped, err)
	}
	err := fillUp(b, disk)
	return errors.Join(err, syscall.Unmount(disk, 0))
}

func fillUp(b *bench, disk string) error {
	data, filler := filepath.Join(disk, "data"), filepath.Join(disk, "filler")
	p, err := b.start(data)
	if err != nil {
		return err
	}
	c := newCrowd(16)
	c.run(b.ctx)
	c.open(client(p.url))
	if err := fill(disk, filler); err != nil {
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
	if err := os.Remove(filler); err != nil {
		return err
	}
	if p, err = b.start(data); err != nil {
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

// fill writes a file until little is left of a disk.
func fill(disk, filler string) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(disk, &s); err != nil {
		return err
	}
	free := int64(s.Bavail) * s.Bsize //nolint:gosec // a small disk
	return os.WriteFile(filler, make([]byte, max(free-diskLeft, 0)), 0o600)
}
