package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// redisServer is a redis-server of our own.
type redisServer struct {
	cmd    *exec.Cmd
	dir    string
	socket string
}

var errNoRedis = errors.New("there is no redis-server, and it cannot be installed: that takes root and apt-get")

// installRedis makes sure that there is a redis-server. It asks the system's package manager for a missing one.
func installRedis(ctx context.Context, say io.Writer) error {
	if _, err := exec.LookPath("redis-server"); err == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return errNoRedis
	}
	_, _ = fmt.Fprintln(say, "installing redis-server ...")
	for _, args := range [][]string{{"update"}, {"install", "--yes", "--no-install-recommends", "redis-server"}} {
		cmd := exec.CommandContext(ctx, "apt-get", args...) //nolint:gosec // fixed words
		// With runlevel 1, the package does not start a server of its own.
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: apt-get %s: %w\n%s", errNoRedis, args[0], err, out)
		}
	}
	_, err := exec.LookPath("redis-server")
	return err
}

// startRedis starts a server on a socket in a folder of its own, with an append-only file that is synced as appendfsync says. The file is never
// rewritten, which would take time from whatever is measured then. The caller stops it, whatever becomes of ctx.
func startRedis(ctx context.Context, dir, appendfsync string) (*redisServer, error) {
	s := &redisServer{dir: filepath.Join(dir, "redis-"+appendfsync)}
	s.socket = filepath.Join(s.dir, "socket")
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return nil, err
	}
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), "redis-server", "--port", "0", "--unixsocket", s.socket, "--dir", s.dir, //nolint:gosec // our own words
		"--save", "", "--appendonly", "yes", "--appendfsync", appendfsync, "--auto-aof-rewrite-percentage", "0")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // when our thread ends; Go ends none by itself
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "eady to accept connections") {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return s, nil
		}
	}
	return nil, fmt.Errorf("redis-server ended before it was ready: %w", s.stop())
}

// stop ends the server, which is the process that was started and no other.
func (s *redisServer) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("redis-server: %w", err)
	}
	return nil
}

func (s *redisServer) pid() int { return s.cmd.Process.Pid }

// connect returns a client with so many connections.
func connect(socket string, connections int) *redis.Client {
	return redis.NewClient(&redis.Options{Network: "unix", Addr: socket, PoolSize: connections, MinIdleConns: connections})
}
