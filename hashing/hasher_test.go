package hashing

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func testKeyring(t testing.TB) *Keyring {
	t.Helper()
	k, err := NewKeyring(rand.Reader, time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func testHasher(t testing.TB) *Hasher {
	t.Helper()
	h, err := testKeyring(t).Domain(DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// wycheproof is what this test reads of C2SP's test vectors.
type wycheproof struct {
	TestGroups []struct {
		TagSize int
		Tests   []struct {
			Key, Msg, Tag        string
			Ikm, Salt, Info, Okm string
			Size                 int
			Result               string
		}
	}
}

func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	if err := json.NewDecoder(dataFile(t, "vectors/"+name)).Decode(into); err != nil {
		t.Fatal(err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRFC4231(t *testing.T) {
	var v struct {
		Cases []struct {
			Key, Data  string
			HMACSHA256 string `json:"hmac_sha256"`
		}
	}
	readVectors(t, "rfc4231.json", &v)
	for i, c := range v.Cases {
		got := newMAC(unhex(t, c.Key)).digest(nil, string(unhex(t, c.Data)))
		if !bytes.Equal(got[:], unhex(t, c.HMACSHA256)[:IDSize]) {
			t.Errorf("case %d", i)
		}
	}
	if len(v.Cases) != 6 {
		t.Errorf("%d cases", len(v.Cases))
	}
}

func TestWycheproofHMAC(t *testing.T) {
	var v wycheproof
	readVectors(t, "hmac_sha256_test.json.gz", &v)
	n := 0
	for _, g := range v.TestGroups {
		for _, c := range g.Tests {
			n++
			got := newMAC(unhex(t, c.Key)).digest(nil, string(unhex(t, c.Msg)))
			want := unhex(t, c.Tag)
			same := bytes.Equal(got[:min(IDSize, len(want))], want[:min(IDSize, len(want))])
			// A tag that was changed behind its first 16 bytes is out of our sight.
			if c.Result == "valid" && !same {
				t.Errorf("test %d: a valid tag is not ours", n)
			}
			if c.Result == "invalid" && g.TagSize == 8*IDSize && same {
				t.Errorf("test %d: an invalid tag is ours", n)
			}
		}
	}
	if n != 174 {
		t.Errorf("%d tests", n)
	}
}

func TestWycheproofHKDF(t *testing.T) {
	var v wycheproof
	readVectors(t, "hkdf_sha256_test.json.gz", &v)
	n := 0
	for _, g := range v.TestGroups {
		for _, c := range g.Tests {
			n++
			if c.Result != "valid" {
				continue // asks for more than 255 hashes, which no subkey does
			}
			if got := expand(unhex(t, c.Ikm), unhex(t, c.Salt), unhex(t, c.Info), c.Size); !bytes.Equal(got, unhex(t, c.Okm)) {
				t.Errorf("test %d", n)
			}
		}
	}
	if n != 86 {
		t.Errorf("%d tests", n)
	}
}

func TestAddressesAreCutToTheirNetworks(t *testing.T) {
	h := testHasher(t)
	for _, c := range []struct {
		a, b                string
		sameIP, sameNetwork bool
	}{
		{"203.0.113.7", "203.0.113.7", true, true},
		{"203.0.113.7", "::ffff:203.0.113.7", true, true},
		{"203.0.113.7", "203.0.113.8", false, true},
		{"203.0.113.7", "203.0.112.7", false, false},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true, true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false, true},
		{"2001:db8:1:2::1", "2001:db8:2:2::1", false, false},
	} {
		a, b := netip.MustParseAddr(c.a), netip.MustParseAddr(c.b)
		if (h.IP(a) == h.IP(b)) != c.sameIP || (h.Network(a) == h.Network(b)) != c.sameNetwork {
			t.Errorf("%s and %s", c.a, c.b)
		}
	}
	if h.IP(netip.Addr{}).Given() || h.Account("").Given() || h.Device("").Given() || h.Phone(Number{}).Given() || h.Range(Number{}).Given() {
		t.Error("what was not given has a subject")
	}
}

func TestSubjectsDifferByKindAndDomain(t *testing.T) {
	h := testHasher(t)
	seen := map[[IDSize]byte]bool{}
	for _, s := range []Subject{h.Account("a"), h.Device("a"), h.Account("b")} {
		if seen[s.ID] {
			t.Errorf("%v: a pseudonym twice", s.Kind)
		}
		seen[s.ID] = true
	}
	secret := bytes.Repeat([]byte{7}, keySize)
	one, two := newHasher(1, "one", 1, secret), newHasher(2, "two", 1, secret)
	if one.Account("a").ID == two.Account("a").ID {
		t.Error("two domains have the same pseudonym")
	}
	n1, _ := Parse("+1 202 555 0143", "")
	n2, _ := Parse("+1 202 555 0199", "")
	n3, _ := Parse("+1 212 555 0143", "")
	if h.Range(n1) != h.Range(n2) || h.Range(n1) == h.Range(n3) || h.Phone(n1) == h.Phone(n2) {
		t.Error("ranges are not blocks of 10,000")
	}
	if h.Fingerprint("a", []byte("bc")) == h.Fingerprint("ab", []byte("c")) || h.IdempotencyKey("x") == h.Fingerprint("", []byte("x")) {
		t.Error("different requests have one fingerprint")
	}
}

func TestTokens(t *testing.T) {
	h := testHasher(t)
	n, err := Parse("+1 202 555 0143", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Subject{h.Phone(n), h.Range(n)} {
		if got, err := h.Token(s.Token()); got != s || err != nil {
			t.Errorf("token of a %v: %v", s.Kind, err)
		}
	}
	other := h.Phone(n)
	other.Key++
	for _, bad := range []string{"", "k1", "k1.", "x1.AAAAAAAAAAAAAAAAAAAAAA", "k01.AAAAAAAAAAAAAAAAAAAAAA", "k1.AAAAAAAAAAAAAAAAAAAAAB", other.Token()} {
		if _, err := h.Token(bad); !errors.Is(err, ErrToken) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if h.Account("a").Token() != "" {
		t.Error("an account has a token")
	}
}

func TestKeyringFile(t *testing.T) {
	k := testKeyring(t)
	path := filepath.Join(t.TempDir(), "keyring.json")
	if _, err := LoadKeyring(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if err := k.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if err := k.WriteFile(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("written over: %v", err)
	}
	again, err := LoadKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	if again.KeyChecks()[0] != k.KeyChecks()[0] || again.Keys()[0] != k.Keys()[0] {
		t.Error("another keyring came back")
	}
	if testKeyring(t).KeyChecks()[0] == k.KeyChecks()[0] {
		t.Error("two keyrings have one check value")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKeyring(path); !errors.Is(err, ErrKeyring) {
		t.Errorf("readable by others: %v", err)
	}
}

func FuzzParseKeyring(f *testing.F) {
	k, err := NewKeyring(bytes.NewReader(make([]byte, keySize)), time.Unix(1_800_000_000, 0))
	if err != nil {
		f.Fatal(err)
	}
	good, err := json.Marshal(k.p.v)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, change := range [][2]string{
		{`"primary"`, `"readable"`}, {`"primary"`, `"other"`}, {`hmac-sha256`, `aes`}, {`"version":1`, `"version":2`},
		{`"id":1`, `"id":0`}, {`"key":1`, `"key":2`}, {`default`, `De fault`}, {`AAAA`, `AA`}, {`{"format"`, `{"extra":1,"format"`},
	} {
		bad := bytes.Replace(good, []byte(change[0]), []byte(change[1]), 1)
		if _, err := ParseKeyring(bad); !errors.Is(err, ErrKeyring) {
			f.Errorf("%s made %s: %v", change[0], change[1], err)
		}
		f.Add(bad)
	}
	if _, err := ParseKeyring(append(bytes.Clone(good), '{')); !errors.Is(err, ErrKeyring) {
		f.Errorf("text behind the end: %v", err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseKeyring(b)
		if err != nil {
			if !errors.Is(err, ErrKeyring) {
				t.Error("another kind of error")
			}
			return
		}
		for _, d := range k.p.v.Domains {
			_, _ = k.Domain(d.Name)
		}
		_ = k.KeyChecks()
	})
}

func BenchmarkSubjects(b *testing.B) {
	h := testHasher(b)
	n, err := Parse("+1 202 555 0143", "")
	if err != nil {
		b.Fatal(err)
	}
	ip := netip.MustParseAddr("203.0.113.7")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = h.Subjects(n, "a", "d", ip)
	}
}

func BenchmarkPhone(b *testing.B) {
	h := testHasher(b)
	n, err := Parse("+1 202 555 0143", "")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = h.Phone(n)
	}
}

// BenchmarkFloor is two blocks of SHA-256 in one go: no keyed hash that keeps its states can take less.
func BenchmarkFloor(b *testing.B) {
	var in [64 + 55]byte
	b.ReportAllocs()
	for b.Loop() {
		_ = sha256.Sum256(in[:])
	}
}
