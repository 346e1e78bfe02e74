package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine/pebblestore"
)

// TestLookAfterAFolder backs a folder up under load, loses it, restores it, and looks after it with and without
// a server.
func TestLookAfterAFolder(t *testing.T) {
	dir := t.TempDir()
	data, ring, backup := filepath.Join(dir, "d"), filepath.Join(dir, "ring.json"), filepath.Join(dir, "b")
	if r := command(t, "", "keys", "init", "--data", data, "--keyring", ring); r.code != exitOK {
		t.Fatal(r)
	}
	store := func(what string, more ...string) ran {
		return command(t, "", append([]string{"store", what, "--data", data, "--keyring", ring}, more...)...)
	}
	p := start(t, data, "--keyring", ring)
	var answered, failed atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	begun := make(chan struct{}, 1)
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				var a api.Assessment
				if err := p.post(t, "/v1/assessments", `{"phone_number":"+1 202 555 0143","event":"sign_in"}`, &a); err != nil {
					failed.Add(1)
					return
				}
				answered.Add(1)
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	<-begun
	before := answered.Load()
	if r := store("backup", backup); r.code != exitOK || !r.says("is complete") {
		t.Fatal(r)
	}
	if r := store("backup", backup); r.code != exitFailed || !r.says("not there yet") {
		t.Error(r)
	}
	if r := store("verify"); r.code != exitOK || !r.says(`"damages": 0`) {
		t.Error(r)
	}
	if r := store("compact"); r.code != exitOK {
		t.Error(r)
	}
	stop.Store(true)
	wg.Wait()
	checkStats(t, store("stats"), answered.Load())
	if failed.Load() > 0 {
		t.Errorf("%d requests failed meanwhile", failed.Load())
	}
	info, err := os.Stat(filepath.Join(data, adminFolder, adminSocket))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	_ = p.stop(syscall.SIGKILL)
	if err := os.RemoveAll(filepath.Join(data, "store")); err != nil {
		t.Fatal(err)
	}
	if r := store("restore", backup); r.code != exitOK {
		t.Fatal(r)
	}
	if r := store("restore", backup); r.code != exitFailed || !r.says("move it away") {
		t.Error(r)
	}
	checkStats(t, store("stats"), before)
	if r := store("purge", "--before", "2099-01-02T03:04:05Z"); r.code != exitOK || !r.says(`"purged": true`) {
		t.Error(r)
	}
	checkStats(t, store("stats"), 0)
	if r := store("purge"); r.code != exitUsage {
		t.Error(r)
	}
	p = start(t, data, "--keyring", ring)
	var profile api.Profile
	if err := p.post(t, "/v1/numbers/lookup", `{"phone_number":"+12025550143"}`, &profile); err != nil || int64(profile.Velocity[0].Total) < before {
		t.Errorf("%d events had been answered, the number has %+v: %v", before, profile.Velocity, err)
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(data, adminFolder, adminSocket)); err == nil {
		t.Error("the socket is left behind")
	}
}

func checkStats(t *testing.T, r ran, events int64) {
	t.Helper()
	var st pebblestore.Stats
	if err := json.Unmarshal([]byte(r.out), &st); err != nil || r.code != exitOK {
		t.Fatal(r, err)
	}
	if int64(st.Events) < events || events == 0 && st.Events != 0 || st.Subjects["phone"] != 1 {
		t.Errorf("%d events were answered: %+v", events, st)
	}
}

// TestADamagedBackupIsNotRestored flips a bit of a table of a backup, and takes the list of its sums away as well.
func TestADamagedBackupIsNotRestored(t *testing.T) {
	dir := t.TempDir()
	data, backup := filepath.Join(dir, "d"), filepath.Join(dir, "b")
	p := start(t, data)
	for i := range 50 {
		var a api.Assessment
		if err := p.post(t, "/v1/assessments", fmt.Sprintf(`{"phone_number":"+120255501%02d","event":"signup"}`, i), &a); err != nil {
			t.Fatal(err)
		}
	}
	if r := command(t, "", "store", "backup", backup, "--data", data); r.code != exitOK {
		t.Fatal(r)
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(backup, "store", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal("the backup has no tables")
	}
	b, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/3] ^= 4
	if err := os.Remove(tables[0]); err != nil { // it is the original's file, too
		t.Fatal(err)
	}
	if err := os.WriteFile(tables[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ gone, says string }{{"other", "SHA256SUMS"}, {"SHA256SUMS", "damaged"}, {"guard", "nothing says what it should hold"}} {
		if err := os.RemoveAll(filepath.Join(backup, "store", c.gone)); err != nil {
			t.Fatal(err)
		}
		r := command(t, "", "store", "restore", backup, "--data", filepath.Join(dir, "n"), "--keyring", filepath.Join(data, "keyring.json"))
		if r.code != exitStore || !r.says(c.says) {
			t.Errorf("without %s: says nothing of %q: %v", c.gone, c.says, r)
		}
		if _, err := os.Stat(filepath.Join(dir, "n", "store")); err == nil {
			t.Error("there is a store now")
		}
	}
	if r := command(t, "", "store", "verify", "--data", data); r.code != exitOK {
		t.Error(r)
	}
}

func TestDoctorLooksAtTheStore(t *testing.T) {
	data := filepath.Join(t.TempDir(), "d")
	p := start(t, data)
	var a api.Assessment
	if err := p.post(t, "/v1/assessments", `{"phone_number":"+12025550143","event":"signup"}`, &a); err != nil {
		t.Fatal(err)
	}
	doctor := func(args ...string) ran {
		return command(t, "", append([]string{"doctor", "--data", data, "--server", p.url}, args...)...)
	}
	if r := doctor("--deep"); r.code != exitOK || !r.says("ok store: all of it is whole") {
		t.Errorf("beside a server: %v", r)
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := doctor("--deep"); r.code != exitOK || !r.says("ok store: all of it is whole") {
		t.Errorf("without: %v", r)
	}
	if r := doctor(); r.code != exitOK || !r.says("ok log: 0 MiB of at most 20480 MiB, from "+time.Now().UTC().Format("2006-")) {
		t.Errorf("the log: %v", r)
	}
	if r := doctor("--disk-reserve", fmt.Sprint(1<<62)); r.code != exitNotMet || !r.says("wrong disk:") || !r.says("hint: make room") {
		t.Errorf("little space: %v", r)
	}
	folder := filepath.Join(data, "store")
	if err := os.Chmod(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	if r := doctor(); r.code != exitNotMet || !r.says("wrong folder:") || !r.says("chmod 700") {
		t.Errorf("a wide folder: %v", r)
	}
	if err := os.Chmod(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(folder, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal("no tables")
	}
	b, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	b[10] ^= 1
	if err := os.WriteFile(tables[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := doctor("--deep"); r.code != exitNotMet || !r.says("wrong store:") || !r.says("restore the folder from a backup") || !r.says("a block is not what was written") {
		t.Errorf("a damaged table: %v", r)
	}
}
