package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server that runs.
type process struct {
	cmd  *exec.Cmd
	url  string
	said chan []byte   // all it logged, once it has ended
	dead chan struct{} // closed then
	err  error         // of Wait; set before dead is closed
}

// start runs a server on a folder and returns when it answers.
func (b *bench) start(data string, flags ...string) (*process, error) {
	args := append([]string{"serve", "--init", "--quiet", "--addr", "127.0.0.1:0", "--data", data}, flags...)
	program := b.bin
	if b.cpus != "" {
		program, args = "taskset", append([]string{"-c", b.cpus, b.bin}, args...)
	}
	p := &process{cmd: exec.CommandContext(b.ctx, program, args...), said: make(chan []byte, 1), dead: make(chan struct{})} //nolint:gosec // a server of our own
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(stderr)
	var log bytes.Buffer
	var first struct{ Addr string }
	for first.Addr == "" {
		line, err := lines.ReadBytes('\n')
		log.Write(line)
		if err != nil {
			_ = p.cmd.Wait()
			return nil, fmt.Errorf("the server does not start: %s", log.Bytes())
		}
		_ = json.Unmarshal(line, &first)
	}
	p.url = "http://" + first.Addr
	go func() {
		_, _ = io.Copy(&log, lines)
		p.err = p.cmd.Wait()
		p.said <- log.Bytes()
		close(p.dead)
	}()
	return p, nil
}

// end sends a signal and returns when the process is gone.
func (p *process) end(s syscall.Signal) error {
	_ = p.cmd.Process.Signal(s)
	<-p.dead
	return p.err
}

// drain ends the process as a supervisor would, which has to work.
func (p *process) drain() error {
	if err := p.end(syscall.SIGTERM); err != nil {
		return fmt.Errorf("SIGTERM: %w: %s", err, <-p.said)
	}
	return nil
}

// use is what a process holds of the machine.
type use struct {
	rss   int64 // bytes
	file  int64 // those of them that are pages of files: of the program itself, mostly
	files int
	cpu   time.Duration
}

// use reads it from /proc; all is zero where there is none.
func (p *process) use() use {
	var u use
	dir := "/proc/" + strconv.Itoa(p.cmd.Process.Pid)
	if b, err := os.ReadFile(dir + "/statm"); err == nil { //nolint:gosec // our own files
		if f := strings.Fields(string(b)); len(f) > 2 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			shared, _ := strconv.ParseInt(f[2], 10, 64)
			u.rss, u.file = pages*int64(os.Getpagesize()), shared*int64(os.Getpagesize())
		}
	}
	if list, err := os.ReadDir(dir + "/fd"); err == nil {
		u.files = len(list)
	}
	if b, err := os.ReadFile(dir + "/stat"); err == nil { //nolint:gosec // our own files
		if _, rest, ok := strings.Cut(string(b), ") "); ok {
			f := strings.Fields(rest)
			user, _ := strconv.ParseInt(f[11], 10, 64)
			system, _ := strconv.ParseInt(f[12], 10, 64)
			u.cpu = time.Duration(user+system) * (time.Second / 100)
		}
	}
	return u
}
