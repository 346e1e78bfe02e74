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

// listenPrivate opens a unix socket that nobody but the user of this process can open, from its first moment on.
func listenPrivate(ctx context.Context, path string) (net.Listener, error) {
	was := syscall.Umask(0o177)
	defer syscall.Umask(was)
	return (&net.ListenConfig{}).Listen(ctx, "unix", path)
}
