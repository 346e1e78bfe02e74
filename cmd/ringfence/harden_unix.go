//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"syscall"
)

// harden keeps what the process knows out of core dumps and away from debuggers of the same user.
func harden() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("core dumps cannot be turned off: %w", err)
	}
	return undumpable()
}

// mostFiles returns how many files this process may open, 0 where nobody knows. Go has raised that to what the system allows.
func mostFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<20))
}

// listenPrivate opens a unix socket that nobody but the user of this process can open, from its first moment on.
func listenPrivate(ctx context.Context, path string) (net.Listener, error) {
	was := syscall.Umask(0o177)
	defer syscall.Umask(was)
	return (&net.ListenConfig{}).Listen(ctx, "unix", path)
}
