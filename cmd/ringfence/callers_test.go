package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence/ringfence/api"
)

// TestKeysForCallers makes and revokes keys beside a running server, and reads the audit.
func TestKeysForCallers(t *testing.T) {
	data := t.TempDir()
	p := start(t, data)
	ask := func(args ...string) ran {
		return command(t, "", append([]string{"assess", "+12025550143", "--server", p.url}, args...)...)
	}
	if r := ask(); r.code != exitOK {
		t.Fatalf("without any keys: %v", r)
	}
	if r := command(t, "", "apikeys", "ls", "--data", data); r.code != exitOK || !r.says("there are no keys") {
		t.Errorf("ls: %v", r)
	}
	for args, says := range map[string]string{
		"":                                  "--scope: missing",
		"--scope all":                       "--scope: unknown",
		"--scope assess --rate 5":           "--rate: not a rate",
		"--scope assess --daily-subjects 0": "--daily-subjects",
		"--scope assess --on-error block":   "--on-error",
	} {
		if r := command(t, "", append([]string{"apikeys", "create", "--data", data}, strings.Fields(args)...)...); r.code != exitUsage || !r.says(says) {
			t.Errorf("%s: %v", args, r)
		}
	}
	if r := command(t, "", "apikeys", "create", "--data", data, "--scope", "assess", "--domain", "elsewhere"); r.code != exitFailed || !r.says("no domain of that name") {
		t.Errorf("another domain: %v", r)
	}
	made := command(t, "", "apikeys", "create", "--data", data, "--scope", "assess,read", "--rate", "100/m", "--daily-subjects", "50")
	key := strings.TrimSpace(made.out)
	if made.code != exitOK || !strings.HasPrefix(key, "rf_") || strings.Contains(made.err, key) {
		t.Fatalf("create: exit %d, %s", made.code, made.err)
	}
	id := strings.Split(key, "_")[1]
	keyFile := write(t, "key", key+"\n")
	if r := ask(); r.code != exitFailed || !r.says("401: Show a key") {
		t.Errorf("without a key: %v", r)
	}
	if r := ask("--key-file", keyFile); r.code != exitOK || !r.says("decision allow") {
		t.Errorf("with the key: %v", r)
	}
	if r := command(t, "", "lists", "ls", "--key-file", keyFile, "--server", p.url); r.code != exitFailed || !r.says("it needs tune") {
		t.Errorf("without the scope: %v", r)
	}
	if r := command(t, "", "apikeys", "ls", "--data", data); r.code != exitOK || !r.says(id+" live") || !r.says("assess read in domain default, 100/m, 50 numbers a day") {
		t.Errorf("ls: %v", r)
	}
	if r := command(t, "", "apikeys", "ls", "--data", data, "-o", "json"); r.code != exitOK || !r.says(`"id": "`+id+`"`) {
		t.Errorf("ls -o json: %v", r)
	}
	if r := command(t, "", "apikeys", "revoke", id, "--data", data); r.code != exitOK {
		t.Errorf("revoke: %v", r)
	}
	if r := command(t, "", "apikeys", "revoke", "12025550143", "--data", data); r.code != exitFailed || !r.says("no live key") {
		t.Errorf("revoke nobody: %v", r)
	}
	if r := ask("--key-file", keyFile); r.code != exitFailed || !r.says("401") {
		t.Errorf("with a revoked key: %v", r)
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(p.log.String(), key[len("rf_")+9:]) {
		t.Error("the log shows the key")
	}
	scan(t, data, strings.Split(key, "_")[2])
	if r := command(t, "", "audit", "ls", "--data", data); r.code != exitOK || !r.says("keys.init") || !r.says("apikeys.create "+id+" no key assess read in domain default") || !r.says("apikeys.revoke "+id+" live revoked") {
		t.Errorf("audit ls: %v", r)
	}
	checkAudit(t, data)
}

// checkAudit verifies the audit log of a data folder, and that it does not verify when it was changed.
func checkAudit(t *testing.T, data string) {
	t.Helper()
	if r := command(t, "", "audit", "verify", "--data", data); r.code != exitOK || !r.says("entries 1 to 3, head") {
		t.Errorf("audit verify: %v", r)
	}
	found, err := filepath.Glob(filepath.Join(data, "audit", "*.ndjson"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(found[0], []byte(strings.Replace(string(b), `"revoked"`, `"living?"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := command(t, "", "audit", "verify", "--data", data); r.code != exitNotMet || !r.says("line 3") {
		t.Errorf("a changed log: %v", r)
	}
	if r := command(t, "", "audit", "verify", "--chain-only", "--data", data); r.code != exitOK {
		t.Errorf("the chain of a log whose last line was changed cannot tell: %v", r)
	}
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, key := sign(t, template, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.key = key
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// sign makes a key and a certificate of it, signed by a or by itself.
func sign(t *testing.T, template *x509.Certificate, a *authority) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := template, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue writes a certificate for 127.0.0.1 and for clients.
func (a *authority) issue(t *testing.T, serial int64, cert, key string) {
	t.Helper()
	der, priv := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a)
	b, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, key, "PRIVATE KEY", b)
	writePEM(t, cert, "CERTIFICATE", der)
}

// serial connects and returns the serial number of the server's certificate.
func (a *authority) serial(t *testing.T, p *process, cfg *tls.Config) (int64, string, error) {
	t.Helper()
	cfg.RootCAs = x509.NewCertPool()
	cfg.RootCAs.AddCert(a.cert)
	c := http.Client{Transport: &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https"+strings.TrimPrefix(p.url, "http")+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = w.Body.Close() }()
	if w.Header.Get("Strict-Transport-Security") == "" || w.TLS.Version != tls.VersionTLS13 {
		t.Errorf("version %x, %v", w.TLS.Version, w.Header)
	}
	return w.TLS.PeerCertificates[0].SerialNumber.Int64(), w.Proto, nil
}

func TestTLS(t *testing.T) {
	data, dir, a := t.TempDir(), t.TempDir(), newAuthority(t)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if r := command(t, "", "serve", "--init", "--data", data, "--tls-cert", cert); r.code != exitUsage {
		t.Errorf("half of a certificate: %v", r)
	}
	if r := command(t, "", "serve", "--init", "--data", data, "--tls-cert", cert, "--tls-key", key); r.code != exitFailed || !r.says("no such file") {
		t.Errorf("no certificate: %v", r)
	}
	a.issue(t, 101, cert, key)
	p := start(t, data, "--tls-cert", cert, "--tls-key", key)
	if serial, proto, err := a.serial(t, p, &tls.Config{}); serial != 101 || proto != "HTTP/2.0" || err != nil {
		t.Errorf("%d, %s, %v", serial, proto, err)
	}
	if _, _, err := a.serial(t, p, &tls.Config{MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
	a.issue(t, 102, cert, key)
	if serial, _, err := a.serial(t, p, &tls.Config{}); serial != 102 || err != nil {
		t.Errorf("after the certificate changed: %d, %v", serial, err)
	}
	if err := os.WriteFile(cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if serial, _, err := a.serial(t, p, &tls.Config{}); serial != 102 || err != nil {
		t.Errorf("with a broken certificate: %d, %v", serial, err)
	}
	if err := p.stop(syscall.SIGTERM); err != nil || !strings.Contains(p.log.String(), "the one of before stays") {
		t.Error(err)
	}
	a.issue(t, 103, cert, key)
	p = start(t, data, "--tls-cert", cert, "--tls-key", key, "--client-ca", a.file)
	if _, _, err := a.serial(t, p, &tls.Config{}); err == nil {
		t.Error("let in without a certificate")
	}
	mine, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	if serial, _, err := a.serial(t, p, &tls.Config{Certificates: []tls.Certificate{mine}}); serial != 103 || err != nil {
		t.Errorf("with a certificate: %d, %v", serial, err)
	}
}

// TestOtherMachinesNeedKeysAndTLS listens on every address.
func TestOtherMachinesNeedKeysAndTLS(t *testing.T) {
	data, dir, a := t.TempDir(), t.TempDir(), newAuthority(t)
	if err := start(t, data).stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	a.issue(t, 1, cert, key)
	secure := []string{"--tls-cert", cert, "--tls-key", key}
	serve := func(flags ...string) ran {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // one that is served is ended
		defer cancel()
		var out strings.Builder
		code := run(ctx, append([]string{"serve", "--addr", "0.0.0.0:0", "--data", data}, flags...), strings.NewReader(""), io.Discard, &out)
		return ran{code, "", out.String()}
	}
	for _, flags := range [][]string{nil, secure, {"--behind-proxy"}} {
		if r := serve(flags...); r.code != exitFailed || !r.says("apikeys create") {
			t.Errorf("%v without keys: %v", flags, r)
		}
	}
	if r := command(t, "", "apikeys", "create", "--data", data, "--scope", "assess"); r.code != exitOK {
		t.Fatal(r)
	} else {
		key := write(t, "key", r.out)
		if r := serve(); r.code != exitFailed || !r.says("--tls-cert") {
			t.Errorf("with a key, without TLS: %v", r)
		}
		p := start(t, data, append(secure, "--addr", "0.0.0.0:0")...)
		_, port, err := net.SplitHostPort(strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		url := "https://127.0.0.1:" + port
		if r := command(t, "", "assess", "--server", url, "--key-file", key, "--ca-file", a.file); r.code != exitOK || !r.says("decision") {
			t.Errorf("over TLS with a key: %v", r)
		}
		if r := command(t, "", "assess", "--server", url, "--ca-file", a.file); r.code != exitFailed || !r.says("401") {
			t.Errorf("over TLS without a key: %v", r)
		}
		if err := p.stop(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		p = start(t, data, "--behind-proxy", "--addr", "0.0.0.0:0")
		if err := p.stop(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
}

// TestProfileSocket asks for a profile on the socket, and for none anywhere else.
func TestProfileSocket(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED: no such sockets here")
	}
	data, path := t.TempDir(), filepath.Join(t.TempDir(), "admin")
	p := start(t, data, "--profile-socket", path)
	get := func(url string) (int, string) {
		c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}}}
		if !strings.HasPrefix(url, "http://admin") {
			c = *http.DefaultClient
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		w, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = w.Body.Close() }()
		b, err := io.ReadAll(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		return w.StatusCode, string(b)
	}
	if status, text := get("http://admin/debug/pprof/heap?debug=1"); status != 200 || !strings.Contains(text, "heap profile") {
		t.Errorf("a profile: status %d", status)
	}
	if status, _ := get(p.url + "/debug/pprof/heap"); status != 404 {
		t.Errorf("a profile over the network: status %d", status)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if r := command(t, "", "serve", "--init", "--data", t.TempDir(), "--addr", "127.0.0.1:0", "--profile-socket", path); r.code != exitFailed || !r.says("another server") {
		t.Errorf("a socket that is in use: %v", r)
	}
	if r := command(t, "", "serve", "--init", "--data", t.TempDir(), "--addr", "127.0.0.1:0", "--profile-socket", write(t, "file", "x")); r.code != exitFailed || !r.says("no socket") {
		t.Errorf("a file: %v", r)
	}
	_ = p.stop(syscall.SIGKILL) // leaves the socket behind
	p = start(t, data, "--profile-socket", path)
	if status, _ := get("http://admin/debug/pprof/"); status != 200 {
		t.Errorf("a socket of before: status %d", status)
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// TestNoDumps looks at the process from outside, and at what it would be without.
func TestNoDumps(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: what Linux tells of a process")
	}
	p := start(t, t.TempDir())
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.cmd.Process.Pid))
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0 bytes") {
		t.Errorf("core dumps are possible: %v\n%s", err, limits)
	}
	const getDumpable = 3
	dumpable := func() uintptr {
		v, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, getDumpable, 0, 0)
		if e != 0 {
			t.Fatal(e)
		}
		return v
	}
	before := dumpable()
	if err := harden(); err != nil || dumpable() != 0 {
		t.Errorf("%d before, %d after: %v", before, dumpable(), err)
	}
}

// TestClientKey shows a key to a server with the Go client.
func TestClientKey(t *testing.T) {
	data := t.TempDir()
	p := start(t, data)
	r := command(t, "", "apikeys", "create", "--data", data, "--scope", "assess")
	c := &api.Client{BaseURL: p.url}
	if _, err := c.Assess(t.Context(), api.AssessmentRequest{Event: "signup"}); !errors.Is(err, api.ErrNoKey) {
		t.Errorf("without a key: %v", err)
	}
	c.Key = strings.TrimSpace(r.out)
	a, err := c.Assess(t.Context(), api.AssessmentRequest{Event: "signup", PhoneNumber: "+1 202 555 0143"})
	if err != nil || a.Decision != "allow" || a.Reasons != nil {
		t.Errorf("with one that may not read: %+v, %v", a, err)
	}
	if _, err := c.Lists(t.Context()); !errors.Is(err, api.ErrScope) {
		t.Errorf("without the scope: %v", err)
	}
}
