package hashing

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

const passphrase = "correct horse battery staple"

func unseal(text string) Unwrap {
	return Unseal(func() ([]byte, error) { return []byte(text), nil })
}

// sealedKeyring returns a keyring, its sealed file, and the key that opens it.
func sealedKeyring(t testing.TB) (*Keyring, []byte, []byte) {
	t.Helper()
	k := testKeyring(t)
	file, err := k.encode(Seal([]byte(passphrase), rand.Reader))
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseSealed(file)
	if err != nil {
		t.Fatal(err)
	}
	return k, file, s.key([]byte(passphrase), s.salt)
}

// TestArgon2id holds the key of a passphrase to what the reference implementation's own
// test expects of argon2id 1.3, without secret and associated data.
func TestArgon2id(t *testing.T) {
	for _, c := range []struct {
		p                  kdfParams
		password, salt, is string
	}{
		{kdfParams{2, 1 << 16, 1}, "password", "somesalt", "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"},
		{kdfParams{2, 1 << 18, 1}, "password", "somesalt", "78fe1ec91fb3aa5657d72e710854e4c3d9b9198c742f9616c2f085bed95b2e8c"},
		{kdfParams{2, 1 << 8, 1}, "password", "somesalt", "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"},
		{kdfParams{2, 1 << 8, 2}, "password", "somesalt", "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"},
		{kdfParams{1, 1 << 16, 1}, "password", "somesalt", "f6a5adc1ba723dddef9b5ac1d464e180fcd9dffc9d1cbf76cca2fed795d9ca98"},
		{kdfParams{4, 1 << 16, 1}, "password", "somesalt", "9025d48e68ef7395cca9079da4c4ec3affb3c8911fe4f86d1a2520856f63172c"},
		{kdfParams{2, 1 << 16, 1}, "differentpassword", "somesalt", "0b84d652cf6b0c4beaef0dfe278ba6a80df6696281d7e0d2891b817d8c458fde"},
		{kdfParams{2, 1 << 16, 1}, "password", "diffsalt", "bdf32b05ccc42eb15d58fd19b1f856b113da1e9a5874fdcc544308565aa8141c"},
	} {
		if got := hex.EncodeToString(c.p.key([]byte(c.password), []byte(c.salt))); got != c.is {
			t.Errorf("%+v: %s", c.p, got)
		}
	}
}

// TestWycheproofXChaCha holds the code that opens and closes boxes to Wycheproof. Only
// what is authenticated beside the box differs: there it is the vector's, here the header's.
func TestWycheproofXChaCha(t *testing.T) {
	var v struct {
		TestGroups []struct {
			IvSize int
			Tests  []struct{ Key, Iv, Aad, Msg, Ct, Tag, Result string }
		}
	}
	readVectors(t, "xchacha20_poly1305_test.json.gz", &v)
	n, valid := 0, 0
	for _, g := range v.TestGroups {
		for _, c := range g.Tests {
			n++
			b := aeadBox{nonce: unhex(t, c.Iv), sealed: append(unhex(t, c.Ct), unhex(t, c.Tag)...)}
			got, err := b.open(unhex(t, c.Key), unhex(t, c.Aad))
			if (err == nil) != (c.Result == "valid") || err == nil && !bytes.Equal(got, unhex(t, c.Msg)) {
				t.Errorf("test %d opens: %v", n, err)
			}
			if c.Result != "valid" {
				continue
			}
			valid++
			again := aeadBox{nonce: unhex(t, c.Iv)}
			if err := again.close(unhex(t, c.Key), unhex(t, c.Msg), unhex(t, c.Aad)); err != nil || !bytes.Equal(again.sealed, b.sealed) {
				t.Errorf("test %d closes: %v", n, err)
			}
		}
	}
	if n != 315 || valid < 200 {
		t.Errorf("%d tests, %d of them valid", n, valid)
	}
}

func TestSealedKeyringFile(t *testing.T) {
	k := testKeyring(t)
	path := filepath.Join(t.TempDir(), "keyring")
	if err := k.WriteSealed(path, Seal([]byte("short"), rand.Reader)); !errors.Is(err, ErrKeyring) {
		t.Errorf("a short passphrase: %v", err)
	}
	if err := k.WriteSealed(path, Seal([]byte(passphrase), rand.Reader)); err != nil {
		t.Fatal(err)
	}
	if err := k.WriteSealed(path, nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("written over: %v", err)
	}
	if again, err := OpenKeyring(path, unseal(passphrase)); err != nil || again.KeyChecks()[0] != k.KeyChecks()[0] {
		t.Errorf("another keyring came back: %v", err)
	}
	for name, unwrap := range map[string]Unwrap{"nobody": nil, "another passphrase": unseal(passphrase + "x"), "no passphrase": unseal("")} {
		if _, err := OpenKeyring(path, unwrap); !errors.Is(err, ErrKeyring) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ChangeFile(path, unseal(passphrase), func(k *Keyring) (*Keyring, Wrap, error) { return k, nil, nil }); err != nil {
		t.Fatal(err)
	}
	if again, err := LoadKeyring(path); err != nil || again.KeyChecks()[0] != k.KeyChecks()[0] {
		t.Errorf("replaced by a plain one: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%d files are left: %v", len(left), err)
	}
}

// TestAnExternalKeyServiceFits wraps a keyring with something that is not ours.
func TestAnExternalKeyServiceFits(t *testing.T) {
	k := testKeyring(t)
	path := filepath.Join(t.TempDir(), "keyring")
	swap := func(b []byte) ([]byte, error) {
		b = bytes.Clone(b)
		for i := range b {
			b[i] ^= 0x55
		}
		return b, nil
	}
	if err := k.WriteSealed(path, swap); err != nil {
		t.Fatal(err)
	}
	if again, err := OpenKeyring(path, swap); err != nil || again.KeyChecks()[0] != k.KeyChecks()[0] {
		t.Errorf("another keyring came back: %v", err)
	}
	down := errors.New("the key service does not answer")
	if _, err := OpenKeyring(path, func([]byte) ([]byte, error) { return nil, down }); !errors.Is(err, down) {
		t.Errorf("a service that is down: %v", err)
	}
}

func TestWhoMayUseTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring")
	if err := testKeyring(t).WriteFile(path); err != nil {
		t.Fatal(err)
	}
	for mode := range os.FileMode(0o1000) {
		if mode&0o400 == 0 {
			continue
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKeyring(path); (err == nil) != (mode&0o077 == 0) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	if _, err := LoadKeyring(filepath.Dir(path)); !errors.Is(err, ErrKeyring) {
		t.Errorf("a folder: %v", err)
	}
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.Chown(path, 65534, -1)); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKeyring(path); !errors.Is(err, ErrKeyring) {
		t.Errorf("of another user: %v", err)
	}
}

// TestEveryFlippedBitIsRefused opens the file, each bit of it flipped in turn, with the
// right key: so it is the authentication that refuses, and not that a changed salt gives another key.
func TestEveryFlippedBitIsRefused(t *testing.T) {
	_, file, key := sealedKeyring(t)
	opened := func(b []byte) bool {
		s, err := parseSealed(b)
		if err == nil {
			_, err = s.open(key, s.head())
		}
		if err != nil && !errors.Is(err, ErrKeyring) {
			t.Errorf("another kind of error: %v", err)
		}
		return err == nil
	}
	if !opened(file) {
		t.Fatal("the file itself does not open")
	}
	for bit := range len(file) * 8 {
		file[bit/8] ^= 1 << (bit % 8)
		if opened(file) {
			t.Errorf("opens with bit %d of byte %d flipped", bit%8, bit/8)
		}
		file[bit/8] ^= 1 << (bit % 8)
	}
	for n := range file {
		if opened(file[:n]) {
			t.Errorf("opens when cut to %d bytes", n)
		}
	}
	for _, more := range []string{"\n", " ", "A", "\r\n", "\x00"} {
		if opened(append(bytes.Clone(file), more...)) {
			t.Errorf("opens with %q behind it", more)
		}
	}
}

// TestParametersAreBounded seals with parameters of every kind, as somebody who knows the
// passphrase could; and a file of another version.
func TestParametersAreBounded(t *testing.T) {
	_, file, _ := sealedKeyring(t)
	for old, changes := range map[string][]string{
		"t=3":     {"t=0", "t=1", "t=2", "t=17", "t=4294967295", "t=4294967296", "t=-3", "t=+3", "t=03", "t=0x3"},
		"m=65536": {"m=0", "m=8", "m=65535", "m=1048577", "m=4294967295"},
		"p=4":     {"p=0", "p=17", "p=255", "p=256"},
		"ring/1 ": {"ring/2 ", "ring/01 "}, "argon2id": {"argon2i", "scrypt"}, "xchacha20": {"chacha20"},
	} {
		for _, change := range changes {
			bad := bytes.Replace(file, []byte(old), []byte(change), 1)
			if _, err := parseSealed(bad); !errors.Is(err, ErrKeyring) {
				t.Errorf("%s is taken: %v", change, err)
			}
		}
	}
	for _, ok := range []string{"t=16", "m=1048576"} {
		old := map[byte]string{'t': "t=3", 'm': "m=65536"}[ok[0]]
		if _, err := parseSealed(bytes.Replace(file, []byte(old), []byte(ok), 1)); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
}

// FuzzSealedKeyring never derives a key: that would be all it does.
func FuzzSealedKeyring(f *testing.F) {
	_, file, key := sealedKeyring(f)
	f.Add(file)
	f.Add(file[:len(file)/2])
	f.Add([]byte(sealedPrefix))
	f.Add(bytes.ReplaceAll(file, []byte("="), nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSealed(b)
		if err != nil {
			if !errors.Is(err, ErrKeyring) {
				t.Error("another kind of error")
			}
			return
		}
		if !s.bounded() || !bytes.Equal(s.encode(), b) {
			t.Error("taken, and not what would be written")
		}
		if plain, err := s.open(key, s.head()); err == nil && !bytes.Equal(b, file) {
			t.Errorf("a forged file opens, %d bytes", len(plain))
		}
	})
}

// BenchmarkUnseal is what a guess at a passphrase costs.
func BenchmarkUnseal(b *testing.B) {
	_, file, _ := sealedKeyring(b)
	for b.Loop() {
		if _, err := unseal(passphrase)(file); err != nil {
			b.Fatal(err)
		}
	}
}

// TestChangesOfAKeyringFileLoseNoneOfThem begins a change within another one, as two commands do at the same time.
func TestChangesOfAKeyringFileLoseNoneOfThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring")
	if err := testKeyring(t).WriteFile(path); err != nil {
		t.Fatal(err)
	}
	rotate := func(k *Keyring) (*Keyring, Wrap, error) {
		k, err := k.Rotate(rand.Reader, time.Now())
		return k, nil, err
	}
	refused := errors.New("refused")
	outer, err := ChangeFile(path, nil, func(k *Keyring) (*Keyring, Wrap, error) {
		if _, err := ChangeFile(path, nil, rotate); !errors.Is(err, ErrKeyring) {
			t.Errorf("a change during another one: %v", err)
		}
		return rotate(k)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ChangeFile(path, nil, func(*Keyring) (*Keyring, Wrap, error) { return nil, nil, refused }); !errors.Is(err, refused) {
		t.Errorf("a change that is given up: %v", err)
	}
	now, err := LoadKeyring(path)
	if err != nil || !slices.Equal(now.KeyChecks(), outer.KeyChecks()) || len(now.Keys()) != 2 {
		t.Errorf("the file has not the key of the change that went through: %v", err)
	}
	if _, err := ChangeFile(path, nil, rotate); err != nil {
		t.Errorf("one behind the other: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%d files are left: %v", len(left), err)
	}
}

// TestAChangeWhoseLockWasTakenAway has somebody remove the lock of a change that waits, as the hint of a refusal says, and begin another one.
func TestAChangeWhoseLockWasTakenAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring")
	if err := testKeyring(t).WriteFile(path); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, failed := range []error{nil, errors.New("given up")} {
		_, err := ChangeFile(path, nil, func(k *Keyring) (*Keyring, Wrap, error) {
			if err := errors.Join(os.Remove(path+".new"), os.WriteFile(path+".new", []byte("half"), 0o600)); err != nil {
				t.Fatal(err)
			}
			return k, nil, failed
		})
		if !errors.Is(err, ErrKeyring) {
			t.Errorf("the change: %v", err)
		}
		now, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(now, before) {
			t.Errorf("the keyring is another one: %v", err)
		}
		if other, err := os.ReadFile(path + ".new"); err != nil || string(other) != "half" {
			t.Errorf("the file of the other change: %q, %v", other, err)
		}
		if err := os.Remove(path + ".new"); err != nil {
			t.Fatal(err)
		}
	}
}
