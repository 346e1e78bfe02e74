package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/ringfence/ringfence/bench/load"
)

// child is this program once more, as one of the servers that are measured: so its CPU time is its own.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser // closed: it ends
	out   *bufio.Reader
	ready string // the first line that it wrote: where it listens
}

// roleVar is the environment variable that makes a child of a program; its value is one of the roles, and after a space what the role is told.
const roleVar = "RINGFENCE_PEERS_ROLE"

// roles are what a child can be. Each writes one line when it is ready, and returns when its input ends.
var roles = map[string]func(ctx context.Context, told string, in io.Reader, out io.Writer) error{
	"gin": serveEmpty, "gin-redis": serveRedis, "ringfence": serveRingfence, "in-process": serveInProcess,
}

// isChild plays the role of a child if the program was started as one.
func isChild(ctx context.Context) (played bool, err error) {
	role, told, _ := strings.Cut(os.Getenv(roleVar), " ")
	if role == "" {
		return false, nil
	}
	return true, roles[role](ctx, told, os.Stdin, os.Stdout)
}

// startChild starts one and waits until it is ready. It ends when it is stopped, or when this process ends.
func startChild(ctx context.Context, role, told string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(context.WithoutCancel(ctx), self)} //nolint:gosec // ourselves
	c.cmd.Env = append(os.Environ(), roleVar+"="+role+" "+told)
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.out = bufio.NewReaderSize(out, 1<<20)
	if c.ready, err = c.out.ReadString('\n'); err != nil {
		return nil, fmt.Errorf("%s ended before it was ready: %w", role, c.stop())
	}
	c.ready = strings.TrimSpace(c.ready)
	return c, nil
}

func (c *child) stop() error {
	_ = c.in.Close()
	return c.cmd.Wait()
}

// order is what an in-process child is asked to do.
type order struct {
	Workers   int
	PerSecond float64 // 0: a closed loop
	For       time.Duration
}

func (o order) run(work load.Worker) *load.Result {
	if o.PerSecond > 0 {
		return load.Open(o.Workers, o.PerSecond, o.For, work)
	}
	return load.Closed(o.Workers, o.For, 0, work)
}

// do lets an in-process child do something.
func (c *child) do(o order) (*load.Result, error) {
	if err := json.NewEncoder(c.in).Encode(o); err != nil {
		return nil, err
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	r := new(load.Result)
	return r, json.Unmarshal(line, r)
}
