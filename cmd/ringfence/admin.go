package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ringfence/ringfence/engine/pebblestore"
)

// A server takes jobs on its data folder through a unix socket in it. Whoever may open the socket may
// do anything with the data, so it lies in a folder that only its owner may enter.
const (
	adminFolder = "admin"
	adminSocket = "socket"
	maxSocket   = 100 // bytes of a socket's path: systems take 104 or 108
	maxJob      = 64 << 10
)

// errNoAdmin is a data folder whose server cannot be asked.
var errNoAdmin = errors.New("the server does not answer on its socket")

// errCutOff is a job of which nobody can say how far it came.
var errCutOff = errors.New("the server that has the folder open did not answer to the end")

// jobAnswer is what comes back from a server.
type jobAnswer struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
	Exit   int             `json:"exit,omitempty"`
	Hint   string          `json:"hint,omitempty"`
}

// remoteError is an error that a server had with a job.
type remoteError struct {
	text, hint string
	exit       int
}

func (e *remoteError) Error() string { return "the server that has the folder open says: " + e.text }

// listenAdmin makes the socket. One that a dead server left behind is removed: this process has the folder.
func listenAdmin(ctx context.Context, data string) (net.Listener, error) {
	folder := filepath.Join(data, adminFolder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(folder, 0o700); err != nil { //nolint:gosec // a folder has to be entered
		return nil, err
	}
	path := filepath.Join(folder, adminSocket)
	if len(path) > maxSocket {
		return nil, fmt.Errorf("the path of the data folder is too long for a socket: at most %d bytes in all", maxSocket)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// admin does jobs.
type admin struct {
	store  *pebblestore.Store
	rekey  func(context.Context) error
	labels func(context.Context, job, io.Reader) (*labelReport, error)
	log    *slog.Logger
}

// serve takes jobs until ctx ends, cuts off those under way then, and waits for them.
func (a *admin) serve(ctx context.Context, l net.Listener) {
	var under sync.WaitGroup
	defer under.Wait()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /jobs", func(w http.ResponseWriter, r *http.Request) {
		var j job
		d := json.NewDecoder(io.LimitReader(r.Body, maxJob))
		if err := d.Decode(&j); err != nil {
			j = job{}
		}
		began := time.Now()
		answer := a.answer(r.Context(), j, io.MultiReader(d.Buffered(), r.Body))
		a.log.Info("job", "job", jobName(j), "exit", answer.Exit, "duration_ms", time.Since(began).Milliseconds())
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer) // whoever asked is gone
	})
	h := &http.Server{
		Handler: mux, ReadHeaderTimeout: headerTimeout, BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		ConnState: func(_ net.Conn, now http.ConnState) {
			switch now {
			case http.StateNew:
				under.Add(1)
			case http.StateClosed: // its job is done
				under.Done()
			}
		},
	}
	stop := context.AfterFunc(ctx, func() { _ = h.Close() })
	defer stop()
	_ = h.Serve(l) // ends when it is closed
}

const headerTimeout = 5 * time.Second

// jobName keeps what a caller made up out of the log.
func jobName(j job) string {
	switch j.Do {
	case "backup", "verify", "stats", "compact", "purge", "keys", "rekey", "labels":
		return j.Do
	}
	return "unknown"
}

// answer does a job, which may have a file behind it.
func (a *admin) answer(ctx context.Context, j job, file io.Reader) (said jobAnswer) {
	var result any
	var err error
	switch j.Do {
	case "rekey":
		err = a.rekey(ctx)
	case "labels":
		result, err = a.labels(ctx, j, file)
	default:
		result, err = j.run(ctx, a.store)
	}
	if result != nil {
		said.Result, _ = json.Marshal(result) // of plain types
	}
	if err != nil {
		said.Error = err.Error()
		said.Exit, said.Hint = hintFor(err)
	}
	return said
}

func dialAdmin(ctx context.Context, data string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(data, adminFolder, adminSocket))
}

// adminListens reports whether a server has a data folder open.
func adminListens(ctx context.Context, data string) bool {
	c, err := dialAdmin(ctx, data)
	return err == nil && c.Close() == nil
}

// askAdmin has the server that has a data folder open do a job, with a file behind it where the job takes one.
func askAdmin(ctx context.Context, data string, j job, file io.Reader) (any, error) {
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialAdmin(ctx, data) }}}
	body, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	var send io.Reader = bytes.NewReader(body)
	if file != nil {
		send = io.MultiReader(send, file)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://admin/jobs", send)
	if err != nil {
		return nil, err
	}
	w, err := c.Do(r)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" && !errors.Is(err, os.ErrPermission) && ctx.Err() == nil {
		return nil, fmt.Errorf("%w: %w", errNoAdmin, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCutOff, err)
	}
	defer func() { _ = w.Body.Close() }()
	var a jobAnswer
	if err := json.NewDecoder(w.Body).Decode(&a); err != nil {
		return nil, fmt.Errorf("%w: %w", errCutOff, err)
	}
	if a.Error != "" {
		err = &remoteError{text: a.Error, hint: a.Hint, exit: a.Exit}
	}
	if a.Result == nil {
		return nil, err
	}
	return a.Result, err
}
