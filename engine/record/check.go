package record

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/ringfence/ringfence/hashing"
	"github.com/ringfence/ringfence/scoring"
)

// Check reports what a record that Load accepted cannot say, as the record of a subject of that kind.
// The error holds nothing of the record.
func (r *Record) Check(owner hashing.Kind) error {
	for _, s := range r.sections {
		if s.id > sectionMembers && s.id < sectionMembers+scoring.Members && !slices.Contains(pairs[owner], scoring.Member(s.id-sectionMembers)) {
			return errors.New("it tells members apart that its kind does not")
		}
		if (s.id == sectionLinks || s.id == sectionGeneration) && owner != hashing.Phone {
			return errors.New("only a phone has links and generations")
		}
	}
	if r.time(atFirst) > r.time(atLast) {
		return errors.New("it was last seen before it was first seen")
	}
	if r.Newest() > r.Applied() {
		return errors.New("it names an event newer than the newest change that it holds")
	}
	if repeats(r.body(sectionLinks), 2, linkSize, len(hashing.LinkTag{})) {
		return errors.New("an account is linked twice")
	}
	if repeats(r.body(sectionLists), 1, listSize, 2) {
		return errors.New("it is on a list twice")
	}
	return nil
}

// repeats reports whether two items of an array begin with the same bytes.
func repeats(b []byte, head, item, key int) bool {
	seen := map[string]bool{}
	for at := head; at < len(b); at += item {
		if seen[string(b[at:at+key])] {
			return true
		}
		seen[string(b[at:at+key])] = true
	}
	return false
}

// Memberships calls fn with every list that the subject is on, in force or not, and when that expires: unix seconds,
// 0 for never.
func (r *Record) Memberships(fn func(list uint16, expires int64)) {
	b := r.body(sectionLists)
	for at := 1; at < len(b); at += listSize {
		fn(binary.BigEndian.Uint16(b[at:]), unix(binary.BigEndian.Uint32(b[at+2:])))
	}
}
