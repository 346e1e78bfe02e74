package hashing

import (
	"crypto/sha256"
	"strconv"
	"testing"
	"time"
)

// mobileNumbers is how many mobile numbers there may be in the world, as SECURITY.md has it.
const mobileNumbers = 118e9

// report says how long one core takes for all numbers at this pace.
func report(b *testing.B) {
	b.Helper()
	each := b.Elapsed().Seconds() / float64(b.N)
	b.ReportMetric(each*mobileNumbers/time.Hour.Seconds(), "core-hours/all")
}

// BenchmarkInvertPlainHash is what trying a number costs where numbers are hashed without a key: what this package
// does not do.
func BenchmarkInvertPlainHash(b *testing.B) {
	var text [16]byte
	var hit int
	want := sha256.Sum256([]byte("x"))
	for i := range b.N {
		if sha256.Sum256(strconv.AppendInt(text[:0], 12025550100+int64(i), 10)) == want {
			hit++
		}
	}
	report(b)
	_ = hit
}

// BenchmarkInvertWithPepper is what trying a number costs to somebody who has the keyring. Without it there
// are 2^256 keys to try for each number: there is nothing to measure.
func BenchmarkInvertWithPepper(b *testing.B) {
	m := newMAC(make([]byte, keySize))
	var text [16]byte
	var hit int
	var want [IDSize]byte
	for i := range b.N {
		if m.digest(strconv.AppendInt(text[:0], 12025550100+int64(i), 10), "") == want {
			hit++
		}
	}
	report(b)
	_ = hit
}
