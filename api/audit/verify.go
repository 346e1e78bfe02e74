package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ringfence/ringfence/hashing"
)

// Report is what Verify found in a log that is in order.
type Report struct {
	First, Last uint64 // numbers of the oldest and the newest entry; 0 for none
	Head        string // the link behind the newest entry: note it elsewhere, and compare later
	Unproven    int    // entries of keys that are destroyed: the chain holds, that we wrote them cannot be told any more
}

// Broken is a place where a log is not as it was written.
type Broken struct {
	Segment string
	Line    int // from 1
	Cause   string
}

// Error returns place and cause in one line.
func (b *Broken) Error() string {
	return fmt.Sprintf("audit log, %s, line %d: %s", b.Segment, b.Line, b.Cause)
}

// Read calls each for every entry in order, until it is false, and checks nothing but the form of lines. A folder
// that is not there is an empty log.
func Read(dir string, each func(Entry) bool) error {
	return scan(dir, func(l line, _ string, _ hashing.Digest, _ []byte) (bool, string) { return each(l.Entry), "" })
}

// Verify goes through the whole log. Its error is a *Broken where the log was changed. Without keys it
// checks the chain only, which whoever can write the files can make anew.
func Verify(dir string, keys *hashing.Auditor) (Report, error) {
	var r Report
	var at chain
	var oldest uint64 // how far back drops account for what is missing
	err := scan(dir, func(l line, signed string, mac hashing.Digest, raw []byte) (bool, string) {
		if r.First == 0 {
			r.First = l.Seq
			at = chain{l.Seq - 1, l.Prev}
			if l.Seq == 1 && l.Prev != "" {
				return false, "the first entry joins onto another"
			}
		}
		switch {
		case l.Seq != at.seq+1:
			return false, fmt.Sprintf("entry %d stands where %d belongs", l.Seq, at.seq+1)
		case l.Prev != at.prev:
			return false, "it does not join onto the line before: that one was changed, or lines are missing"
		}
		if keys != nil {
			switch same, untold := keys.Check(l.Key, signed, mac); {
			case untold:
				r.Unproven++
			case !same:
				return false, "its code is not that of this keyring: it was changed, or is of another installation"
			}
		}
		if l.Did == didDrop {
			_, _ = fmt.Sscanf(l.Before, "entries up to %d", &oldest)
		}
		at = chain{l.Seq, link(raw)}
		r.Last = l.Seq
		return true, ""
	})
	r.Head = at.prev
	if err == nil && r.First > 1 && oldest+1 < r.First {
		err = &Broken{"the oldest segment", 1, fmt.Sprintf("entries before %d are missing, and no entry says that they were dropped", r.First)}
	}
	return r, err
}

// scan calls each for every line. What each says is wrong becomes a *Broken.
func scan(dir string, each func(l line, signed string, mac hashing.Digest, raw []byte) (more bool, wrong string)) error {
	names, err := segments(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		more, err := scanSegment(filepath.Join(dir, name), name, each)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

func scanSegment(path, name string, each func(line, string, hashing.Digest, []byte) (bool, string)) (bool, error) {
	f, err := os.Open(path) //nolint:gosec // below the data folder
	if err != nil {
		return false, fmt.Errorf("audit log: %w", err)
	}
	defer func() { _ = f.Close() }()
	r := bufio.NewReaderSize(f, maxLine)
	for n := 1; ; n++ {
		raw, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF) && len(raw) == 0:
			return true, nil
		case errors.Is(err, io.EOF) || errors.Is(err, bufio.ErrBufferFull):
			return false, &Broken{name, n, "half a line, or one that is too long"}
		case err != nil:
			return false, fmt.Errorf("audit log: %w", err)
		}
		l, signed, mac, err := parse(raw)
		if err == nil && n == 1 && !strings.HasPrefix(name, fmt.Sprintf("%012d-", l.Seq)) {
			return false, &Broken{name, n, "the segment has the name of another"}
		}
		if err != nil {
			return false, &Broken{name, n, err.Error()}
		}
		more, wrong := each(l, signed, mac, bytes.Clone(raw))
		if wrong != "" {
			return false, &Broken{name, n, wrong}
		}
		if !more {
			return false, nil
		}
	}
}
