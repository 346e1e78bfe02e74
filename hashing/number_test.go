package hashing

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nyaruka/phonenumbers/v2"
)

// dataFile opens a file of the real data that lies beside the checkout. Without it
// the test is skipped, but in CI that is a failure, unless RINGFENCE_DATA=none says that it cannot be there.
func dataFile(t testing.TB, name string) io.Reader {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "shared", "data", filepath.FromSlash(name)))
	if err != nil {
		if os.Getenv("CI") == "true" && os.Getenv("RINGFENCE_DATA") != "none" {
			t.Fatalf("the data file %s is missing", name)
		}
		t.Skipf("SKIPPED: the data file %s is not beside the checkout", name)
	}
	t.Cleanup(func() { _ = f.Close() })
	if !strings.HasSuffix(name, ".gz") {
		return f
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// TestParseAgreesWithTheExamples holds Parse against the example numbers of the
// numbering plans, as Google's own Java library reads them.
func TestParseAgreesWithTheExamples(t *testing.T) {
	Warm()
	lines := bufio.NewScanner(dataFile(t, "normalise_examples.tsv.gz"))
	lines.Scan() // header
	rows, wrong := 0, map[string]int{}
	for lines.Scan() {
		f := strings.Split(lines.Text(), "\t")
		rows++
		got, kind := "INVALID", "UNKNOWN"
		if number, err := Parse(f[0], f[1]); err == nil {
			got, kind = "+"+string(number.p.v.text()), strings.ToUpper(number.Type())
		}
		// The table names some types as the XML metadata does.
		wantKind := map[string]string{"personalNumber": "PERSONAL_NUMBER"}[f[3]]
		if wantKind == "" {
			wantKind = strings.ToUpper(f[3])
		}
		switch {
		case got != f[2]:
			wrong["number"]++
		case kind != wantKind:
			wrong["type "+wantKind+" read as "+kind]++
		}
	}
	if rows != 7749 {
		t.Errorf("%d rows", rows)
	}
	if !maps.Equal(wrong, differences) {
		t.Errorf("of %d rows: %v, want %v", rows, wrong, differences)
	}
}

// differences are where the table names the category whose example a number is,
// and the library tells its type: the digits agree in every row. A number that
// matches the patterns of fixed lines and of mobiles is FIXED_LINE_OR_MOBILE to
// the library (seven renderings each of an example of 16 and 3 plans). The other
// three are at the end of the table: the library asks about pagers, UANs and
// VoIP before it asks about fixed lines and mobiles, so in its metadata these
// numbers are in none of those categories.
var differences = map[string]int{
	"type FIXED_LINE read as FIXED_LINE_OR_MOBILE": 112,
	"type MOBILE read as FIXED_LINE_OR_MOBILE":     21,
	"type PAGER read as FIXED_LINE":                1,
	"type UAN read as MOBILE":                      1,
	"type VOIP read as FIXED_LINE_OR_MOBILE":       1,
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		raw, region string
		digits      string
		problem     error
		kind        string
	}{
		{raw: "+44 20 7946 0123", digits: "442079460123", kind: "fixed_line"},
		{raw: "020 7946 0123", region: "GB", digits: "442079460123", kind: "fixed_line"},
		{raw: "tel:+1-202-555-0143", digits: "12025550143", kind: "fixed_line_or_mobile"},
		{raw: "+1 202 555 0143 ext. 5", digits: "12025550143", kind: "fixed_line_or_mobile"},
		{raw: "+1 202 555 0143 x5", digits: "12025550143", kind: "fixed_line_or_mobile"},
		{raw: "+1 202 555 0143", digits: "12025550143", kind: "fixed_line_or_mobile"},
		{raw: "", problem: ErrEmpty},
		{raw: "  ", problem: ErrNotDigits},
		{raw: "+44 7700 90012O", problem: ErrLetters},
		{raw: "+44 7700 9OO123", problem: ErrLetters},
		{raw: "call +44 7700 900123", problem: ErrLetters},
		{raw: "1-800-FLOWERS", region: "US", problem: ErrLetters},
		{raw: "+44 7700 900123" + strings.Repeat(" ", 60), problem: ErrTooLong},
		{raw: "07700 900123", problem: ErrNoRegion},
		{raw: "07700 900123", region: "ZZ", problem: ErrNoRegion},
		{raw: "+44 1", problem: ErrTooShort},
		{raw: "+1 555 555 5555", problem: ErrNotInUse},
		{raw: "+1 202 555 01431", problem: ErrNotInUse},
		{raw: "+44 7700 900123", problem: ErrNotInUse}, // kept free for drama
		{raw: "\xff\x00+44", problem: ErrNotDigits},
	} {
		n, err := Parse(c.raw, c.region)
		if !errors.Is(err, c.problem) || (err != nil) != (c.problem != nil) {
			t.Errorf("Parse(%q, %q): %v, want %v", c.raw, c.region, err, c.problem)
			continue
		}
		if err != nil {
			if !errors.Is(err, ErrInvalidNumber) || Problem(err) == "" || n.Given() {
				t.Errorf("Parse(%q): %v has no code, or came with a number", c.raw, err)
			}
			continue
		}
		if string(n.p.v.text()) != c.digits || n.Type() != c.kind {
			t.Errorf("Parse(%q): %s, %s", c.raw, n.p.v.text(), n.Type())
		}
		again, err := Parse("+"+string(n.p.v.text()), "")
		if err != nil || *again.p.v != *n.p.v {
			t.Errorf("Parse(%q) of the canonical digits is another number: %v", c.raw, err)
		}
	}
}

func TestOnlyMobilesReceiveSMS(t *testing.T) {
	for raw, want := range map[string]bool{"+1 202 555 0143": true, "+44 20 7946 0123": false} {
		n, err := Parse(raw, "")
		if err != nil || n.CanReceiveSMS() != want {
			t.Errorf("%s: %v, %v", raw, n.CanReceiveSMS(), err)
		}
	}
	if (Number{}).CanReceiveSMS() {
		t.Error("no number receives")
	}
}

// digitRun is what must not be seen of the number and the keys here, as text, as bytes in decimal and in
// hexadecimal.
var digitRun = regexp.MustCompile(`12025550143|5550143|49 50 48 50|0x31, 0x32, 0x30|(?i:3132303235)|AQIDBAUG|\[1 2 3`)

func TestSecretsDoNotPrint(t *testing.T) {
	n, err := Parse("+1 202 555 0143", "")
	if err != nil {
		t.Fatal(err)
	}
	secret := make([]byte, keySize)
	for i := range secret {
		secret[i] = byte(i + 1)
	}
	ring, err := NewKeyring(bytes.NewReader(secret), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := ring.Domain(DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		number  Number
		ring    *Keyring
		hasher  *Hasher
		auditor *Auditor
		wrap    Wrap
		unwrap  Unwrap
		retry   Retry
	}
	// A passphrase whose bytes the pattern below knows; closures must not show what they hold.
	wrap, unwrap := Seal(secret, bytes.NewReader(secret)), Unseal(func() ([]byte, error) { return secret, nil })
	_, failed := unwrap([]byte("12025550143"))
	for _, verb := range []string{"%v", "%#v", "%x"} {
		if !digitRun.MatchString(fmt.Sprintf(verb, *n.p.v)) {
			t.Errorf("%s of what is hidden would not be noticed", verb)
		}
	}
	nested := holder{n, ring, hasher, ring.Auditor(), wrap, unwrap, hasher.Retry("12025550143", "r", secret)}
	values := map[string]any{
		"number": n, "pointer": &n, "keyring": ring, "keyring value": *ring, "hasher": hasher, "auditor": ring.Auditor(), "auditor value": *ring.Auditor(), "seal": wrap, "unseal": unwrap, "error of a seal": failed,
		"retry": hasher.Retry("12025550143", "r", secret),
		"slice": []Number{n}, "map": map[string]Number{"a": n}, "error": fmt.Errorf("about %v", n),
		// Formatting cannot call methods of unexported fields: what they hold must be out of reach.
		"nested": nested, "nested pointer": &nested,
	}
	for name, v := range values {
		for _, shown := range renderings(v) {
			if digitRun.MatchString(shown) {
				t.Errorf("%s shows what it holds", name)
			}
		}
	}
}

// renderings shows a value in every way that ends up in logs and answers.
func renderings(v any) []string {
	var all []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		all = append(all, fmt.Sprintf(verb, v))
	}
	j, _ := json.Marshal(v)
	var buf bytes.Buffer
	_ = gob.NewEncoder(&buf).Encode(v)
	for _, h := range []slog.Handler{slog.NewTextHandler(&buf, nil), slog.NewJSONHandler(&buf, nil)} {
		slog.New(h).Info("value", "v", v)
	}
	return append(all, string(j), buf.String())
}

func FuzzParse(f *testing.F) {
	for _, raw := range []string{"+44 7700 900123", "(202) 555-0143 x12", "tel:+1-202-555-0143;ext=7", "٠٧٧٠٠٩٠٠١٢٣", "＋４４７７００", "+", "+800 1234 5678", "O7700"} {
		f.Add(raw, "GB")
	}
	f.Fuzz(func(t *testing.T, raw, region string) {
		n, err := Parse(raw, region)
		if (err == nil) != n.Given() {
			t.Fatal("a number with an error, or neither")
		}
		if err != nil {
			if Problem(err) == "" {
				t.Error("an error without a code")
			}
			return
		}
		again, err := Parse("+"+string(n.p.v.text()), "")
		if err != nil || again.p.v.digits != n.p.v.digits {
			t.Error("the canonical digits are another number")
		}
	})
}

// BenchmarkParse is what the library takes, for any number that is not written as digits_test.go has it.
func BenchmarkParse(b *testing.B) {
	Warm()
	b.ReportAllocs()
	for b.Loop() {
		var n number
		if err := n.readAny("+1 202 555 0143", ""); err != nil {
			b.Fatal(err)
		}
	}
}

// TestValidMeansThatItHasAType holds what Parse relies on, for numbers near
// those that every region gives as examples.
func TestValidMeansThatItHasAType(t *testing.T) {
	checked, valid := 0, 0
	for region := range phonenumbers.GetSupportedRegions() {
		example := phonenumbers.GetExampleNumber(region)
		if example == nil {
			continue
		}
		text := []byte(phonenumbers.Format(example, phonenumbers.E164))
		for at := 1; at < len(text); at++ {
			was := text[at]
			for digit := byte('0'); digit <= '9'; digit++ {
				text[at] = digit
				n, err := phonenumbers.Parse(string(text), "")
				_, got := Parse(string(text), "")
				want := err == nil && phonenumbers.IsValidNumber(n)
				if (got == nil) != want {
					t.Errorf("an example of %s with another digit at %d: %v, the library says %v", region, at, got, want)
				}
				checked++
				if want {
					valid++
				}
			}
			text[at] = was
		}
	}
	if checked < 10_000 || valid < 5_000 || valid == checked {
		t.Errorf("%d numbers looked at, %d of them valid", checked, valid)
	}
}
