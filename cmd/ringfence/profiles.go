package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"time"
)

// The profile socket is a unix socket that only the user of the server can open. What is on it is
// on no network.

// profileHandler is what the profile socket answers.
func profileHandler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /debug/pprof/", pprof.Index)
	m.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	m.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	m.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return m
}

// listenProfiles opens the profile socket. A socket that a killed server left behind is replaced; one that is
// answered is not.
func listenProfiles(ctx context.Context, path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, errors.New("--profile-socket: there is a file at this path that is no socket")
		}
		if c, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
			_ = c.Close()
			return nil, errors.New("--profile-socket: another server answers there")
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("--profile-socket: %w", err)
		}
	}
	l, err := listenPrivate(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("--profile-socket: %w", err)
	}
	return l, nil
}

// serveProfiles answers on the profile socket until ctx ends.
func serveProfiles(ctx context.Context, l net.Listener) {
	s := &http.Server{Handler: profileHandler(), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	_ = s.Serve(l) // ends with ctx
}
