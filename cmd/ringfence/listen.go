package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/ringfence/ringfence/api/access"
	"github.com/spf13/cobra"
)

// listenFlags say where serve listens, and what protects the way there.
type listenFlags struct {
	addr        string
	tlsCert     string
	tlsKey      string
	clientCA    string
	behindProxy bool
}

func (f *listenFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	textSetting(fl, &f.addr, "addr")
	textSetting(fl, &f.tlsCert, "tls_cert")
	textSetting(fl, &f.tlsKey, "tls_key")
	textSetting(fl, &f.clientCA, "client_ca")
	switchSetting(fl, &f.behindProxy, "behind_proxy")
}

// check says what an address lacks that is not this machine's alone.
func (f *listenFlags) check(keys *access.Ring) error {
	switch {
	case (f.tlsCert == "") != (f.tlsKey == ""):
		return usage("--tls-cert and --tls-key go together")
	case f.clientCA != "" && f.tlsCert == "":
		return usage("--client-ca needs --tls-cert and --tls-key")
	case f.behindProxy && f.tlsCert != "":
		return usage("--behind-proxy and --tls-cert exclude one another")
	case loopback(f.addr):
		return nil
	case keys.Live() == 0:
		return errors.New("an address that is no loopback address is served only to callers with keys, and there is none; make one with: ringfence apikeys create")
	case f.tlsCert == "" && !f.behindProxy:
		return errors.New("an address that is no loopback address is served only with --tls-cert and --tls-key, or with --behind-proxy where a proxy speaks TLS; numbers would travel in the clear")
	}
	return nil
}

// loopback reports whether an address to listen on stays on this machine.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// tls returns how to speak TLS, nil for not at all.
func (f *listenFlags) tls(log *slog.Logger) (*tls.Config, error) {
	if f.tlsCert == "" {
		return nil, nil
	}
	c := &certificate{cert: f.tlsCert, key: f.tlsKey, log: log}
	if err := c.read(); err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: c.get, NextProtos: []string{"h2", "http/1.1"}}
	if f.clientCA == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(f.clientCA)
	if err != nil {
		return nil, fmt.Errorf("--client-ca: %w", err)
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("--client-ca: no certificate in PEM is in the file")
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	return cfg, nil
}

// certificate is read again when its files change. One that cannot be used leaves the one of before.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu   sync.Mutex
	now  *tls.Certificate // guarded by mu
	seen [2]fileVersion   // guarded by mu
}

// fileVersion tells two contents of a file apart.
type fileVersion struct {
	size int64
	at   time.Time
}

func versionOf(path string) fileVersion {
	info, err := os.Stat(path)
	if err != nil {
		return fileVersion{}
	}
	return fileVersion{info.Size(), info.ModTime()}
}

func (c *certificate) read() error {
	c.seen = [2]fileVersion{versionOf(c.cert), versionOf(c.key)}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	c.now = &pair
	return nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen != [2]fileVersion{versionOf(c.cert), versionOf(c.key)} {
		if err := c.read(); err != nil {
			c.log.Error("the new certificate cannot be used; the one of before stays", "error", err.Error())
		} else {
			c.log.Warn("the certificate was read again")
		}
	}
	return c.now, nil
}

// listen opens the address. Connections take half of the files that the process may open, at most: further ones wait until one is closed, and do not keep
// the store, which stops the process when it cannot write, from opening its own.
func (f *listenFlags) listen(ctx context.Context) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", f.addr, err)
	}
	if most := mostFiles() / 2; most > 0 {
		l = bound(l, most)
	}
	return l, nil
}

// bounded is a listener with at most so many connections at a time.
type bounded struct {
	net.Listener
	room   chan struct{} // one for each connection
	closed chan struct{}
	once   sync.Once
}

func bound(l net.Listener, most int) net.Listener {
	return &bounded{Listener: l, room: make(chan struct{}, most), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.room <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.room
		return nil, err
	}
	return &counted{c.(*net.TCPConn), sync.OnceFunc(func() { <-b.room })}, nil //nolint:forcetypeassert // it listens on TCP
}

// Close implements net.Listener.
func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// counted is a connection that gives its place back. It is a TCPConn in all else: net/http half closes one whose client still sends, or that would lose the answer.
type counted struct {
	*net.TCPConn
	leave func()
}

func (c *counted) Close() error {
	defer c.leave()
	return c.TCPConn.Close()
}
