package record

import "github.com/ringfence/ringfence/hashing"

// Absorb adds what an older record of the same subject holds. Where only one of the two has seen anything, the result has
// all of it, and the name of the newest event that either still has. That both have cannot come about as long as every touch of a number moves its older record
// first, and whatever comes by another name is known by that; should it be so, lists and links are joined, and the older counts are lost. On a list that both are on, r
// stays as it is.
func (r *Record) Absorb(older *Record) {
	if r.Empty() && r.Generation() == 0 {
		var lists Record
		lists.takeLists(r)
		newest := r.Newest()
		r.Reload(older.b)
		if newest > r.Newest() {
			r.nameNewest(newest)
		}
		lists.Memberships(func(id uint16, expires int64) { r.SetList(id, expires) })
		return
	}
	r.takeLists(older)
	b := older.body(sectionLinks)
	for at := 2; at < len(b); at += linkSize {
		tag := hashing.LinkTag(b[at : at+len(hashing.LinkTag{})])
		r.Link(tag, TimeOf(older.LinkedSince(tag)), MaxLinks)
	}
}

// Became returns the effect by which the record of a subject is what r holds now, whatever it was before: all of it moved
// to another subject, or came from there, or members are known by other tags. r is the record from now on.
func Became(seq Seq, now int64, s hashing.Subject, r *Record) Effect {
	f := Effect{Seq: seq, Op: OpMigrate, Time: now, Now: now}
	f.Subjects[s.Kind] = s
	r.setApplied(seq)
	f.Record = string(r.Bytes())
	return f
}
