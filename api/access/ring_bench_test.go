package access

import (
	"path/filepath"
	"testing"
)

// BenchmarkReload is what each request pays for noticing a revoked key at once, while the file stays as it is.
func BenchmarkReload(b *testing.B) {
	path := filepath.Join(b.TempDir(), "apikeys.json")
	newKey(b, path, Assess)
	ring := openRing(b, path)
	b.ReportAllocs()
	for b.Loop() {
		if err := ring.Reload(); err != nil {
			b.Fatal(err)
		}
	}
}
