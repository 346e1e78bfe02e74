package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ringfence/ringfence/engine"
)

// Pebble takes the first chunk of a log that does not match its checksum for the end of the log, as a power cut leaves it,
// unless a block behind it proves otherwise. A flipped bit in the last 32 KiB therefore drops what was
// acknowledged behind it, and nobody is told. Seals tell: a seal is a line of the log that changes nothing, and is
// written when the one before it is durable. Two seals behind a broken chunk prove that the chunk was durable too.
// A chunk with fewer behind it may have been cut: that is the last moment before a crash, and cannot be told apart.
var seal = []byte("ringfence: everything before the seal before this one is durable")

// sealEvery is how long after a change it takes at most until a seal is written. It costs one sync, which others share.
const sealEvery = 20 * time.Millisecond

// sealsProve is how many seals prove that what lies before them was durable.
const sealsProve = 2

// sealer writes seals as long as there is something new to seal.
type sealer struct {
	s       *Store
	newest  uint64 // number of the newest change at the last look
	written int    // seals since there was a new change
}

// look writes a seal behind new changes and two more behind that one, since a seal that lies across two blocks is not seen.
func (l *sealer) look() error {
	if newest := l.s.lastSeq.Load(); newest != l.newest {
		l.newest, l.written = newest, 0
	}
	if l.written > sealsProve {
		return nil
	}
	l.written++
	return l.s.syncLog(seal)
}

// finish seals everything there is.
func (l *sealer) finish() error {
	l.written = 0
	for l.written <= sealsProve {
		if err := l.look(); err != nil {
			return err
		}
	}
	return nil
}

// The format of Pebble's logs: blocks of chunks, and no chunk crosses the end of its block. A chunk is a checksum (4) of
// what follows the size, size (2), encoding (1), number of the log (4), where the encoding says so an offset (8), and
// what it holds. Little-endian.
const (
	logBlock       = 32 << 10
	shortHeader    = 11
	longHeader     = 19
	firstShort     = 5
	firstLong      = 9
	lastLong       = 12
	batchHeader    = 12
	kindLogData    = 3
	maskOfChecksum = 0xa282ead8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunkAt returns what the chunk at the start of b holds, and its size. The size is 0 when there is no whole chunk of this log.
func chunkAt(b []byte, log uint32) (holds []byte, size int) {
	if len(b) < shortHeader || b[6] < firstShort || b[6] > lastLong || binary.LittleEndian.Uint32(b[7:]) != log {
		return nil, 0
	}
	header := shortHeader
	if b[6] >= firstLong {
		header = longHeader
	}
	size = header + int(binary.LittleEndian.Uint16(b[4:]))
	if size > len(b) {
		return nil, 0
	}
	sum := crc32.Checksum(b[6:size], castagnoli)
	if (sum>>15|sum<<17)+maskOfChecksum != binary.LittleEndian.Uint32(b) {
		return nil, 0
	}
	return b[header:size], size
}

// isSeal reports whether a chunk is a seal: a batch with nothing else in it.
func isSeal(holds []byte) bool {
	return len(holds) == batchHeader+2+len(seal) && holds[batchHeader] == kindLogData && bytes.Equal(holds[batchHeader+2:], seal)
}

// damagedLog looks for a chunk that does not match its checksum although it was durable, and returns where it is.
func damagedLog(r io.Reader, log uint32) (at int64, damaged bool, err error) {
	block := make([]byte, logBlock)
	broken, seals := int64(-1), 0
	for base := int64(0); ; base += logBlock {
		n, err := io.ReadFull(r, block)
		if errors.Is(err, io.EOF) {
			return broken, seals >= sealsProve, nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, false, err
		}
		for p := 0; p+shortHeader <= n; {
			holds, size := chunkAt(block[p:n], log)
			if size == 0 && logBlock-p < longHeader && allZero(block[p:n]) {
				break // no room for another chunk
			}
			if size == 0 {
				if broken < 0 {
					broken = base + int64(p)
				}
				p++
				continue
			}
			if broken >= 0 && isSeal(holds) {
				seals++
			}
			p += size
		}
	}
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// checkLogs returns engine.ErrCorrupt when a log in the folder is damaged.
func checkLogs(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		number, isLog := strings.CutSuffix(name, ".log")
		if !isLog {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			continue // not one of Pebble's
		}
		f, err := fs.Open(fs.PathJoin(dir, name), vfs.SequentialReadsOption)
		if err != nil {
			return err
		}
		at, damaged, err := damagedLog(f, uint32(n)) //nolint:gosec // chunks hold as much of the number
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		if damaged {
			return fmt.Errorf("%w: %s at byte %d: what follows was acknowledged and cannot be read", engine.ErrCorrupt, name, at)
		}
	}
	return nil
}
