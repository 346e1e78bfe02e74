package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ringfence/ringfence/api"
)

// TestMain lets the test binary be the program itself, so that it can be killed, and that scripts
// can call it.
func TestMain(m *testing.M) {
	switch os.Getenv("RINGFENCE_TEST_MAIN") {
	case "1":
		main()
	case "crash":
		crash()
	}
	testscript.Main(m, map[string]func(){"ringfence": main})
}

// process is the program, serving.
type process struct {
	cmd *exec.Cmd
	url string
	log bytes.Buffer // complete once logged is closed

	logged chan struct{}
}

func start(t *testing.T, data string, more ...string) *process {
	t.Helper()
	return launch(t, append([]string{"serve", "--init", "--addr", "127.0.0.1:0", "--data", data}, more...))
}

// launch starts the program with arguments that make it serve.
func launch(t *testing.T, args []string) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(t.Context(), os.Args[0], args...)}
	p.cmd.Env = append(os.Environ(), "RINGFENCE_TEST_MAIN=1")
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stderr)
	var first struct{ Addr string }
	for first.Addr == "" { // it may have something to warn of before
		line, err := lines.ReadBytes('\n')
		p.log.Write(line)
		if err != nil || json.Unmarshal(line, &first) != nil {
			t.Fatalf("the server did not say where it listens: %s", p.log.String())
		}
	}
	p.url = "http://" + first.Addr
	p.logged = make(chan struct{})
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	go func() {
		defer close(p.logged)
		_, _ = io.Copy(&p.log, lines)
	}()
	return p
}

// stop ends the process with a signal and waits for it.
func (p *process) stop(s syscall.Signal) error {
	_ = p.cmd.Process.Signal(s)
	<-p.logged
	return p.cmd.Wait()
}

func (p *process) post(t *testing.T, path, body string, out any) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = w.Body.Close() }()
	if w.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", w.StatusCode)
	}
	return json.NewDecoder(w.Body).Decode(out)
}

// TestNothingAcknowledgedIsLost kills the server under load again and again. Every
// event that was answered is counted afterwards, and no digit is on the disk.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	data := t.TempDir()
	var acknowledged, sent atomic.Int64
	for range 3 {
		p := start(t, data)
		before := acknowledged.Load()
		enough := make(chan struct{})
		var once sync.Once
		var wg sync.WaitGroup
		for client := range 16 {
			wg.Go(func() {
				for {
					var a api.Assessment
					sent.Add(1)
					body := fmt.Sprintf(`{"phone_number":"+1 202 555 0143","event":"sign_in","account_id":"u_planted%d"}`, client)
					if p.post(t, "/v1/assessments", body, &a) != nil {
						return
					}
					if acknowledged.Add(1) > before+500 {
						once.Do(func() { close(enough) })
					}
				}
			})
		}
		<-enough
		_ = p.stop(syscall.SIGKILL)
		wg.Wait()
	}
	p := start(t, data)
	var profile api.Profile
	if err := p.post(t, "/v1/numbers/lookup", `{"phone_number":"+12025550143"}`, &profile); err != nil {
		t.Fatal(err)
	}
	total := int64(profile.Velocity[0].Total)
	if total < acknowledged.Load() || total > sent.Load() {
		t.Errorf("%d events were answered, %d sent, %d are counted", acknowledged.Load(), sent.Load(), total)
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	scan(t, data, append(disguises(t, "12025550143"), append(disguises(t, "2025550143"), "5550143", "u_planted")...)...)
	if strings.Contains(p.log.String(), "5550143") {
		t.Error("the log holds the number")
	}
}

// disguises are the ways in which digits could lie on a disk without being text.
func disguises(t *testing.T, digits string) []string {
	t.Helper()
	value, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	even := digits
	if len(even)%2 == 1 {
		even = "0" + even
	}
	packed, err := hex.DecodeString(even)
	if err != nil {
		t.Fatal(err)
	}
	swapped := make([]byte, len(packed))
	for i, b := range packed {
		swapped[i] = b<<4 | b>>4
	}
	backwards := []byte(digits)
	slices.Reverse(backwards)
	all := []string{
		digits, string(backwards), hex.EncodeToString([]byte(digits)), string(packed), string(swapped),
		string(binary.BigEndian.AppendUint64(nil, value)), string(binary.LittleEndian.AppendUint64(nil, value)),
		string(binary.AppendUvarint(nil, value)), strings.Join(strings.Split(digits, ""), "\x00"), strconv.FormatUint(value, 16), strconv.FormatUint(value, 36),
	}
	for shift := range 3 { // base64 looks different at every place within three bytes
		text := base64.StdEncoding.EncodeToString(append(make([]byte, shift), digits...))
		all = append(all, text[4:len(text)-4])
	}
	return all
}

// scan looks for texts in every file below a folder.
func scan(t *testing.T, dir string, planted ...string) {
	t.Helper()
	bytesRead := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		bytesRead += len(b)
		for _, text := range planted {
			if bytes.Contains(b, []byte(text)) {
				t.Errorf("%s holds what was sent", filepath.Base(path))
			}
		}
		return err
	})
	if err != nil || bytesRead < 10_000 {
		t.Errorf("looked at %d bytes: %v", bytesRead, err)
	}
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	numbers := file("numbers.txt", "+1 202 555 0143\n\n12025550199\n+44 7700 90012O\n")
	broken := file("broken.yaml", "name: x\ncolour: red\n")
	data := filepath.Join(dir, "data")
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"version", exitOK, "ringfence"},
		{"policy show", exitOK, "accounts_per_phone"},
		{"policy lint " + broken, exitNotMet, "line 2, column 1"},
		{"policy lint " + dir + "/none.yaml", exitFailed, "no such file"},
		{"serve --addr 0.0.0.0:0 --data " + data, exitFailed, "apikeys create"},
		{"serve --data " + data, exitFailed, "serve --init"},
		{"keys init --data " + data, exitOK, "back it up"},
		{"keys init --data " + data, exitFailed, "exists"},
		{"keys ls --data " + data, exitOK, "primary"},
		{"lists import disposable " + numbers + " --data " + data, exitStore, "serve --init"},
		{"--n12025550143", exitUsage, "--help"},
		{"version --x=12025550143", exitUsage, "--help"},
		{"+12025550143", exitUsage, "no such command"},
		{"keys +12025550143", exitUsage, "no such command"},
		{"policy lint a +12025550143", exitUsage, "lint FILE"},
		{"lists import n12025550143 " + numbers + " --data " + data, exitStore, "serve --init"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), strings.Fields(c.args), strings.NewReader(""), &out, &out); code != c.code || !strings.Contains(out.String(), c.says) || strings.Contains(out.String(), "5550143") {
			t.Errorf("%s: exit %d, %s", c.args, code, out.String())
		}
	}
	p := start(t, data)
	var out bytes.Buffer
	imports := []string{"lists", "import", "disposable", numbers, "--data", data, "--strict"}
	if code := run(t.Context(), imports, nil, &out, &out); code != exitStore || !strings.Contains(out.String(), "in use") {
		t.Errorf("import beside a server: exit %d, %s", code, out.String())
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if code := run(t.Context(), imports, nil, &out, &out); code != exitNotMet || !strings.Contains(out.String(), "3 read, 2 on list disposable, 1 refused") || strings.Contains(out.String(), "7700") {
		t.Errorf("import: exit %d, %s", code, out.String())
	}
	object := file("numbers.json", `{"":"x","12025550143":"2026-01-02","+1 202 555 0199":1}`)
	out.Reset()
	imports[3] = object
	if code := run(t.Context(), imports, nil, &out, &out); code != exitNotMet || !strings.Contains(out.String(), "3 read, 2 on list disposable, 1 refused") {
		t.Errorf("import of an object: exit %d, %s", code, out.String())
	}
	imports[3] = file("cut.json", `{"12025550143":`)
	out.Reset()
	if code := run(t.Context(), imports, nil, &out, &out); code != exitFailed || !strings.Contains(out.String(), "behind entry 0") || strings.Contains(out.String(), "0143") {
		t.Errorf("import of half an object: exit %d, %s", code, out.String())
	}
	p = start(t, data)
	var a api.Assessment
	if err := p.post(t, "/v1/assessments", `{"phone_number":"+12025550199","event":"signup"}`, &a); err != nil || a.Reasons[0].Code != "LIST_DISPOSABLE" {
		t.Errorf("a listed number: %v, %v", a.Reasons, err)
	}
}
