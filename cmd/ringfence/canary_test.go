package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/bench/canary"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
)

// What is planted: a number that is possible, in three spellings, and who was seen with it.
const (
	plantedNumber  = "12025550187"
	plantedAccount = "acct-canary-41c7e"
	plantedDevice  = "device-canary-9b02d"
	plantedIP      = "203.0.113.77"
	plantedIP6     = "2001:db8:85a3:9::77"
)

var (
	spellings = []string{plantedNumber, "+" + plantedNumber, "+1 (202) 555-0187"}
	values    = append(slices.Clone(spellings), plantedAccount, plantedDevice, plantedIP, plantedIP6)
	canaries  = []*canary.Canary{
		canary.Number("the number", plantedNumber, "2025550187"), canary.Text("the number as typed", "(202) 555-0187"),
		canary.Text("the account", plantedAccount), canary.Text("the device", plantedDevice),
		canary.Address("the address", plantedIP), canary.Address("the IPv6 address", plantedIP6),
		canary.Text("the network", "2001:db8:85a3:9"), canary.Text("the network", "203.0.113.0"),
	}
)

// TestCanaries sends what nobody must keep in every way that the program can be told something, and looks for it
// in everything that the program keeps, logs and answers.
func TestCanaries(t *testing.T) {
	for _, c := range canaries {
		if overlooked := c.Control(); len(overlooked) > 0 {
			t.Fatalf("the search overlooks %v", overlooked)
		}
	}
	data := t.TempDir()
	p := start(t, data)
	s := &sinks{t: t}
	plantOverHTTP(t, p, s)
	s.body("metrics", get(t, p.url+"/metrics"))
	s.folder(data) // as it lies while the server runs
	if err := p.stop(syscall.SIGKILL); err == nil {
		t.Error("the server ended by itself")
	}
	s.body("log", p.log.Bytes())
	s.folder(data)
	plantInFiles(t, s, data)
	p = start(t, data)
	plantOnCommandLines(t, s, p.url)
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	s.body("log", p.log.Bytes())
	s.folder(data)
	if s.searched < 200 {
		t.Errorf("only %d texts and files were searched", s.searched)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	if r := command(t, "", "store", "backup", backup, "--data", data); r.code != exitOK {
		t.Error(r)
	}
	s.folder(backup)
	leak := filepath.Join(data, "store", "leak")
	if err := os.WriteFile(leak, []byte("\x00\x01"+plantedAccount), 0o600); err != nil {
		t.Fatal(err)
	}
	control := &sinks{t: new(testing.T)}
	control.folder(data)
	if control.found == 0 {
		t.Error("a planted leak is not found")
	}
}

// crash dies of a panic in the middle of a decision about what is planted, as a bug of ours would have it.
func crash() {
	ring, err := hashing.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		panic(err)
	}
	h, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		panic(err)
	}
	store, err := pebblestore.OpenMemory(pebblestore.Options{Keys: ring.KeyChecks()})
	if err != nil {
		panic(err)
	}
	ev, _, _, err := intake.Event(h, &api.AssessmentRequest{PhoneNumber: "+" + plantedNumber, Event: "signup", AccountID: plantedAccount, DeviceID: plantedDevice, IP: plantedIP})
	if err != nil {
		panic(err)
	}
	_ = store.Assess(context.Background(), ev, new(engine.Decision), func(*engine.Observation, *engine.Decision) { panic("planted") })
}

// TestTracebacksHoldNoDigit lets the program die with a full traceback, which prints the arguments of functions.
func TestTracebacksHoldNoDigit(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "RINGFENCE_TEST_MAIN=crash", "GOTRACEBACK=all")
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("goroutine 1 [running]")) || !bytes.Contains(out, []byte("pebblestore.(*Store).Assess(0x")) {
		t.Fatalf("no traceback: %v, %s", err, out)
	}
	s := &sinks{t: t}
	s.body("the traceback", out)
}

// sinks searches whatever it is shown.
type sinks struct {
	t        *testing.T
	searched int
	found    int
}

func (s *sinks) body(name string, b []byte) {
	s.searched++
	for _, c := range canaries {
		for _, found := range c.Find(b) {
			s.found++
			s.t.Errorf("%s holds %s", name, found)
		}
	}
}

// folder searches all files, and their names.
func (s *sinks) folder(dir string) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) { // the store is open
			return nil
		}
		if err != nil || !d.Type().IsRegular() { // a folder, or the socket for jobs
			return err
		}
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		s.body("file "+filepath.Base(path), append(b, path...))
		return err
	})
	if err != nil {
		s.t.Error(err)
	}
}

func get(t *testing.T, url string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Body.Close() }()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// send sends a request as it is and searches the answer, headers included.
func (s *sinks) send(p *process, raw string) {
	s.t.Helper()
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(s.t.Context(), "tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, raw); err != nil {
		s.t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil && len(answer) == 0 {
		return // the server hung up on nonsense, without a word
	}
	if bytes.Contains(answer, []byte(":cross-site")) {
		s.t.Error("the server took it for that of a web page, and did nothing with it")
	}
	line, _, _ := bytes.Cut([]byte(raw), []byte("\r\n"))
	for _, v := range values { // do not say it in a test's log either
		line = bytes.ReplaceAll(line, []byte(v), []byte("…"))
	}
	s.body(fmt.Sprintf("the answer to %q", line), answer)
}

func request(method, path, body string, header ...string) string {
	head := append([]string{method + " " + path + " HTTP/1.1", "Host: localhost", "Connection: close", fmt.Sprint("Content-Length: ", len(body))}, header...)
	return strings.Join(head, "\r\n") + "\r\n\r\n" + body
}

// routesIn returns the paths and methods of the API's description.
func routesIn(t *testing.T) (routes [][2]string) {
	t.Helper()
	path := ""
	for line := range strings.Lines(string(api.OpenAPI())) {
		line = strings.TrimRight(line, "\n")
		switch name, _, _ := strings.Cut(strings.TrimSpace(line), ":"); {
		case strings.HasPrefix(line, "  /"):
			path = name
		case strings.HasPrefix(line, "    ") && !strings.HasPrefix(line, "     ") && slices.Contains([]string{"get", "post", "put", "delete", "patch"}, name):
			routes = append(routes, [2]string{strings.ToUpper(name), path})
		}
	}
	if len(routes) < 10 {
		t.Fatalf("only %d routes", len(routes))
	}
	return routes
}

// fields returns every name that a request of the API may have.
func fields() (names []string) {
	for _, of := range []any{api.AssessmentRequest{}, api.OutcomeRequest{}, api.PhoneRequest{}, api.ListEntry{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(of)) {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func plantOverHTTP(t *testing.T, p *process, s *sinks) {
	t.Helper()
	valid := fmt.Sprintf(`{"phone_number":"+%s","event":"signup","account_id":%q,"device_id":%q,"ip":%q,"verified":true}`, plantedNumber, plantedAccount, plantedDevice, plantedIP)
	var a api.Assessment
	if err := p.post(t, "/v1/assessments", valid, &a); err != nil || a.AssessmentID == "" {
		t.Fatalf("the planted event was not counted: %v", err)
	}
	six := strings.Replace(valid, plantedIP, plantedIP6, 1)
	s.send(p, request("POST", "/v1/assessments", six, "Content-Type: application/json", "Idempotency-Key: "+plantedNumber))
	for _, r := range routesIn(t) {
		plantIn(p, s, r[0], r[1], valid, a)
	}
	for _, v := range values {
		url := strings.NewReplacer(" ", "%20", "(", "%28").Replace(v)
		for _, raw := range []string{
			request("GET", "/v1/lists/"+url+"/entries", ""), request("GET", "/v1/lists/deny/entries?cursor="+url, ""),
			request("DELETE", "/v1/lists/deny/entries?token="+url, ""), request("GET", "/"+url, ""), request("GET", "/livez?"+url, ""),
			request("GET", "/v1/assessments/"+url, ""), request("GET", "//"+url+"/..;/"+url, ""), request("GET"+url, "/livez", ""),
			"GET /" + v + " HTTP/9.9\r\n\r\n", v + "\r\n\r\n", "GET /livez HTTP/1.1\r\nHost: " + v + "\r\n" + v + "\r\n\r\n",
			"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: " + v + "\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + v + "\r\n\r\n",
			request("GET", "/livez", "", "Expect: "+v), request("GET", "/livez", "", strings.Repeat("X-Long: "+v+"\r\n", 2000)+"X: y"),
		} {
			s.send(p, raw)
		}
	}
}

// plantIn sends every value in every field, header and kind of broken body to one route.
func plantIn(p *process, s *sinks, method, path, valid string, a api.Assessment) {
	path = strings.NewReplacer("{name}", "deny", "{id}", a.AssessmentID).Replace(path)
	bodies := []string{
		valid, valid[:len(valid)-9], valid + valid, "[" + valid + "]", `{"assessments":[` + valid + `,` + valid[:30] + `]}`, strings.Repeat("[", 40) + valid,
		`{"` + plantedNumber + `":"` + plantedAccount + `","` + plantedIP + `":` + plantedNumber + `}`, "{" + strings.Repeat(" ", 70<<10) + valid, plantedNumber,
		`{"phone_number":` + plantedNumber + `,"ip":["` + plantedIP + `"],"account_id":{"x":"` + plantedAccount + `"}}`, valid + "\n" + valid[:40] + "\n" + valid + "\n",
		`{"phone_number":"+` + plantedNumber + `"}`, `{"phone_number":"+` + plantedNumber + `","account_id":"` + plantedAccount + `"}`, valid[:20] + "\xff\xfe" + valid[20:],
		`{"outcomes":[{"assessment_id":"` + plantedNumber + `","outcome":"` + plantedAccount + `"}]}`, `{"entries":[{"phone_number":"+` + plantedNumber + `","reason":"` + plantedAccount + `"}]}`,
	}
	for _, field := range fields() {
		for _, v := range values {
			bodies = append(bodies, fmt.Sprintf(`{"event":"signup","phone_number":"+1 202 555 0100",%q:%q}`, field, v), fmt.Sprintf(`{%q:%q}`, field, v))
		}
	}
	kinds := []string{"Content-Type: application/json"}
	for i, body := range bodies {
		if i < 16 { // the rest differs within JSON only
			kinds = []string{"Content-Type: application/json", "Content-Type: application/x-ndjson", "Content-Type: text/" + plantedAccount}
		}
		for _, kind := range kinds {
			s.send(p, request(method, path, body, kind, "User-Agent: "+plantedDevice, "X-Forwarded-For: "+plantedIP, "Forwarded: for="+plantedIP6,
				"Authorization: Bearer "+plantedNumber, "Cookie: a="+plantedAccount, "X-Request-Id: "+plantedNumber, "Referer: http://"+plantedIP+"/"+plantedNumber,
				"Accept: "+plantedAccount, "Traceparent: 00-"+plantedNumber, plantedAccount+": "+plantedNumber))
		}
		kinds = kinds[:1]
	}
}

// plantInFiles has files read that hold what they should, and what they should not.
func plantInFiles(t *testing.T, s *sinks, data string) {
	t.Helper()
	all := strings.Join(values, "\n")
	valid := `{"occurred_at":"2026-01-02T03:04:05Z","event":"signup","phone_number":"+` + plantedNumber + `","account_id":"` + plantedAccount + `","ip":"` + plantedIP + `"}`
	files := map[string]string{
		"list.txt": all, "list.json": `{"` + plantedNumber + `":"` + plantedAccount + `","` + plantedAccount + `":1}`, "cut.json": `{"` + plantedNumber + `":`,
		"events.ndjson": valid + "\n" + all + "\n" + valid[:60] + "\n" + strings.Replace(valid, "signup", plantedAccount, 1) + "\n",
		"events.csv":    "occurred_at,phone_number,event," + plantedAccount + "\n2026-01-02 03:04:05,+" + plantedNumber + ",signup,\n" + all + "\n",
		"labels.ndjson": `{"assessment_id":"` + plantedNumber + `","outcome":"` + plantedAccount + `"}` + "\n" + all, "labels.csv": "assessment_id,outcome\n" + plantedNumber + "," + plantedIP + "\n",
		"policy.yaml": "name: x\n" + plantedNumber + ": 1\nx (202) 555-0187: " + plantedAccount + "\nscore: " + plantedNumber + "\nholdout: " + plantedIP + "\n", "rules.yaml": "name: x\nrules:\n  - code: " + plantedNumber + "\n    when: " + plantedAccount + " > " + plantedNumber + "\n",
		"keyring.json": `{"format":"` + plantedNumber + `","` + plantedAccount + `":` + plantedNumber + `}`, "passphrase": plantedNumber,
	}
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range []string{
		"lists import deny list.txt", "lists import deny list.json", "lists import deny cut.json", "lists import " + plantedNumber + " list.txt",
		"import events.ndjson", "import events.csv", "import labels.csv", "apikeys create --scope " + plantedNumber, "apikeys create --scope assess --domain n" + plantedNumber,
		"apikeys create --scope assess --rate " + plantedNumber, "apikeys revoke " + plantedNumber, "store purge --before " + plantedNumber, "store verify", "store stats", "audit ls", "audit verify",
		"serve --config policy.yaml", "serve --tls-cert passphrase --tls-key passphrase", "config show --config policy.yaml",
		"labels import labels.ndjson", "labels import labels.csv", "replay events.ndjson --dataless", "replay -o ndjson events.ndjson --dataless",
		"replay --sort events.csv --dataless", "policy lint policy.yaml --dataless", "policy lint rules.yaml --dataless", "policy test policy.yaml --dataless",
		"backtest --policy rules.yaml", "serve --policy policy.yaml", "serve --policy rules.yaml", "keys ls --keyring keyring.json", "doctor --keyring keyring.json",
		"keys domains add " + plantedNumber, "keys domains add n" + plantedNumber,
	} {
		fields := strings.Fields(args)
		for i, f := range fields {
			if _, ok := files[f]; ok {
				fields[i] = filepath.Join(dir, f)
			}
		}
		if n := len(fields) - 1; fields[n] == "--dataless" {
			fields = fields[:n]
		} else {
			fields = append(fields, "--data", data)
		}
		s.command("", fields...)
	}
}

// plantOnCommandLines types what should be typed, and what should not.
func plantOnCommandLines(t *testing.T, s *sinks, url string) {
	t.Helper()
	for _, v := range values {
		for _, args := range [][]string{
			{"assess", v, "--account", v, "--device", v, "--ip", plantedIP}, {"assess", "-", "--ip", v}, {"assess", "--event", v}, {"assess", "--region", v},
			{"assess", "--country", v}, {"outcome", v, v}, {"lists", "ls", v}, {"lists", "rm", v, v}, {"lists", "rm", "deny", v}, {"erase"}, {"erase", "--region", v}, {"erase", v},
		} {
			s.command(v, append(args, "--server", url)...)
		}
		for _, args := range [][]string{
			{v}, {"--" + v}, {"assess", "--" + v}, {"serve", "--addr", v}, {"help", v}, {"keys", v}, {"replay", "--map", v}, {"demo", "--people", v},
			{"completion", v}, {"version", v}, {"tune", "--max-fpr", v},
		} {
			s.command(v, args...)
		}
	}
}

// command runs the program and searches what it prints. The paths that it was given may be repeated.
func (s *sinks) command(stdin string, args ...string) {
	s.t.Helper()
	var out bytes.Buffer
	_ = run(s.t.Context(), args, strings.NewReader(stdin), &out, &out)
	for i, a := range args {
		for _, v := range values {
			args[i] = strings.ReplaceAll(a, v, "…")
		}
	}
	s.body(fmt.Sprintf("what %q prints", args), out.Bytes())
}
