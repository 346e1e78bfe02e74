package record

import "encoding/binary"

// listSize is a list id and the time of expiry.
const listSize = 2 + 4

// MaxLists is the most lists that a subject can be on.
const MaxLists = 255

// SetList puts the subject on a list, until a time in unix seconds or, at 0,
// for ever. It reports false when the subject is on MaxLists others.
func (r *Record) SetList(id uint16, expires int64) bool {
	until := Time(0)
	if expires != 0 {
		until = TimeOf(expires)
	}
	at := findList(r.body(sectionLists), id)
	if at < 0 && len(r.body(sectionLists)) >= 1+MaxLists*listSize {
		return false
	}
	r.edit(sectionLists, func(b []byte) []byte {
		if at >= 0 {
			binary.BigEndian.PutUint32(b[at+2:], until)
			return b
		}
		if len(b) == 0 {
			b = append(b, 0)
		}
		b[0]++
		b = binary.BigEndian.AppendUint16(b, id)
		return binary.BigEndian.AppendUint32(b, until)
	})
	return true
}

// DropList takes the subject off a list and reports whether it was on it.
func (r *Record) DropList(id uint16) bool {
	at := findList(r.body(sectionLists), id)
	if at < 0 {
		return false
	}
	r.edit(sectionLists, func(b []byte) []byte {
		if b[0]--; b[0] == 0 {
			return b[:0]
		}
		return append(b[:at], b[at+listSize:]...)
	})
	return true
}

// Lists calls fn with every list in force at a time that the subject is on.
func (r *Record) Lists(now Time, fn func(id uint16)) {
	b := r.body(sectionLists)
	for at := 1; at < len(b); at += listSize {
		if until := binary.BigEndian.Uint32(b[at+2:]); until == 0 || now < until {
			fn(binary.BigEndian.Uint16(b[at:]))
		}
	}
}

// takeLists puts the subject on the lists that another record is on, unless it is on them already.
func (r *Record) takeLists(o *Record) {
	b := o.body(sectionLists)
	for at := 1; at < len(b); at += listSize {
		if id := binary.BigEndian.Uint16(b[at:]); findList(r.body(sectionLists), id) < 0 {
			r.SetList(id, unix(binary.BigEndian.Uint32(b[at+2:])))
		}
	}
}

// findList returns where in the lists' body a list's entry begins, -1 when it
// has none.
func findList(b []byte, id uint16) int {
	for at := 1; at < len(b); at += listSize {
		if binary.BigEndian.Uint16(b[at:]) == id {
			return at
		}
	}
	return -1
}
