package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
)

// server is one that was started for a row.
type server struct {
	cmd *exec.Cmd
	url string
	log chan struct{} // closed when it has said everything
}

// serve starts a server on a free port of this machine, with a new data folder.
func serve(ctx context.Context, program, data string) (*server, error) {
	s := &server{log: make(chan struct{})}
	s.cmd = exec.CommandContext(ctx, program, "serve", "--init", "--quiet", "--addr", "127.0.0.1:0", "--data", data) //nolint:gosec // the program to measure
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(stderr)
	for s.url == "" {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			_ = s.cmd.Wait()
			return nil, fmt.Errorf("the server ended before it listened: %w", err)
		}
		var says struct{ Addr string }
		if json.Unmarshal(text, &says) == nil && says.Addr != "" {
			s.url = "http://" + says.Addr
		}
	}
	go func() {
		defer close(s.log)
		_, _ = io.Copy(io.Discard, lines)
	}()
	return s, nil
}

// stop ends it as a supervisor would.
func (s *server) stop() error {
	err := s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.log
	if e := s.cmd.Wait(); e != nil {
		return fmt.Errorf("the server ended with %w", e)
	}
	return err
}

// assessed returns how many events it has counted and decided.
func (s *server) assessed(ctx context.Context) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = w.Body.Close() }()
	var total float64
	for in := bufio.NewScanner(w.Body); in.Scan(); {
		name, value, _ := strings.Cut(in.Text(), "} ")
		var n float64
		if strings.HasPrefix(name, "ringfence_assessments_total{") {
			if _, err := fmt.Sscan(value, &n); err != nil {
				return 0, fmt.Errorf("metrics: %w", err)
			}
			total += n
		}
	}
	return int64(total), nil
}
