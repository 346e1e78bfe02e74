package record

import (
	"encoding/binary"

	"github.com/ringfence/ringfence/hashing"
)

// linkSize is an account tag and the time it was linked.
const linkSize = len(hashing.LinkTag{}) + 4

// MaxLinks is the most accounts that a record can hold.
const MaxLinks = 1<<16 - 1

// Links returns how many accounts are linked to the phone.
func (r *Record) Links() int {
	if b := r.body(sectionLinks); b != nil {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

// LinkedSince returns when an account was linked to the phone, in unix seconds,
// 0 when it is not.
func (r *Record) LinkedSince(tag hashing.LinkTag) int64 {
	b := r.body(sectionLinks)
	at := findLink(b, tag)
	if at < 0 {
		return 0
	}
	return unix(binary.BigEndian.Uint32(b[at+len(tag):]))
}

// Link links an account to the phone unless limit accounts are linked already; a limit
// of 0 is MaxLinks. It reports whether the account is linked afterwards.
func (r *Record) Link(tag hashing.LinkTag, at Time, limit int) bool {
	if findLink(r.body(sectionLinks), tag) >= 0 {
		return true
	}
	if limit <= 0 || limit > MaxLinks {
		limit = MaxLinks
	}
	if r.Links() >= limit {
		return false
	}
	r.edit(sectionLinks, func(b []byte) []byte {
		if len(b) == 0 {
			b = append(b, 0, 0)
		}
		binary.BigEndian.PutUint16(b, binary.BigEndian.Uint16(b)+1)
		b = append(b, tag[:]...)
		return binary.BigEndian.AppendUint32(b, at)
	})
	return true
}

// Unlink takes an account off the phone and reports whether it was linked.
func (r *Record) Unlink(tag hashing.LinkTag) bool {
	at := findLink(r.body(sectionLinks), tag)
	if at < 0 {
		return false
	}
	r.edit(sectionLinks, func(b []byte) []byte {
		left := binary.BigEndian.Uint16(b) - 1
		binary.BigEndian.PutUint16(b, left)
		if left == 0 {
			return b[:0]
		}
		return append(b[:at], b[at+linkSize:]...)
	})
	return true
}

// Relink makes an account that is linked under a tag of an older key linked under one of a newer key, since the same
// time. It reports whether it was.
func (r *Record) Relink(from, to hashing.LinkTag) bool {
	since := r.LinkedSince(from)
	if since == 0 {
		return false
	}
	r.Unlink(from)
	r.Link(to, TimeOf(since), MaxLinks)
	return true
}

// findLink returns where in the links' body an account's entry begins, -1 when
// it has none.
func findLink(b []byte, tag hashing.LinkTag) int {
	for at := 2; at < len(b); at += linkSize {
		if hashing.LinkTag(b[at:at+len(tag)]) == tag {
			return at
		}
	}
	return -1
}

func settleLinks(b []byte, now Time) {
	for at := 2; at < len(b); at += linkSize {
		since := b[at+len(hashing.LinkTag{}) : at+linkSize]
		if binary.BigEndian.Uint32(since) > now {
			binary.BigEndian.PutUint32(since, now)
		}
	}
}
