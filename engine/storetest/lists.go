package storetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

func listsExpire(w *world) {
	entries := []engine.ListEntry{
		{List: engine.DenyList, Subject: phone(1), Reason: "fraud", Added: start, Expires: start + 100},
		{List: "vip", Subject: subject(hashing.Range, 1), Added: start},
		{List: "vip", Subject: phone(1), Added: start},
	}
	w.must(w.store.PutEntries(w.ctx(), domain, entries, nil))
	at := func(at int64) string { return fmt.Sprint(w.look(signup(1, 1, at)).Lists) }
	equal(w.t, "lists before the expiry", at(start+99), "[deny vip]")
	equal(w.t, "lists at the expiry", at(start+100), "[vip]")
	removed, err := w.store.RemoveEntry(w.ctx(), domain, "vip", phone(1), start)
	w.must(err)
	equal(w.t, "removed", removed, true)
	equal(w.t, "the range still counts", at(start), "[deny vip]")
	removed, err = w.store.RemoveEntry(w.ctx(), domain, "vip", phone(1), start)
	w.must(err)
	equal(w.t, "removed again", removed, false)
}

func listPages(w *world) {
	var entries []engine.ListEntry
	for i := range 25 {
		entries = append(entries, engine.ListEntry{List: "many", Subject: phone(i), Reason: "r", Added: start, Expires: start + 1 + int64(i)})
	}
	w.must(w.store.PutEntries(w.ctx(), domain, entries, nil))
	var got []engine.ListEntry
	var after hashing.Subject
	for {
		page, err := w.store.Entries(w.ctx(), domain, "many", after, 10, start)
		w.must(err)
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		after = page[len(page)-1].Subject
	}
	slices.SortFunc(got, func(a, b engine.ListEntry) int { return int(a.Expires - b.Expires) })
	if !slices.Equal(got, entries) {
		w.t.Errorf("pages: got %d entries, want the %d put in", len(got), len(entries))
	}
	none, err := w.store.Entries(w.ctx(), domain, "unheard_of", hashing.Subject{}, 10, start)
	w.must(err)
	equal(w.t, "entries of no list", len(none), 0)
}

func listDomains(w *world) {
	const other = domain + 1
	theirs := phone(1)
	theirs.Key = 2
	w.must(w.store.PutEntries(w.ctx(), domain, []engine.ListEntry{{List: "ours", Subject: phone(1)}}, nil))
	w.must(w.store.PutEntries(w.ctx(), other, []engine.ListEntry{{List: "theirs", Subject: theirs}}, nil))
	for d, want := range map[hashing.DomainID]string{domain: "[ours]", other: "[theirs]"} {
		names, err := w.store.Lists(w.ctx(), d)
		w.must(err)
		equal(w.t, "lists", fmt.Sprint(names), want)
	}
	entries, err := w.store.Entries(w.ctx(), domain, "theirs", hashing.Subject{}, 10, start)
	w.must(err)
	equal(w.t, "entries of another domain's list", len(entries), 0)
}

// refusedLeavesNothing fills the store with lists, and then asks for one more
// together with entries that alone would be fine.
func refusedLeavesNothing(w *world) {
	for i := range record.MaxLists {
		w.must(w.store.PutEntries(w.ctx(), domain, []engine.ListEntry{{List: fmt.Sprint("l", i), Subject: subject(hashing.Range, 99)}}, nil))
	}
	entries := []engine.ListEntry{{List: "one_too_many", Subject: phone(50)}}
	for i := range 100 {
		entries = append(entries, engine.ListEntry{List: "l0", Subject: phone(i)})
	}
	if err := w.store.PutEntries(w.ctx(), domain, entries, nil); !errors.Is(err, engine.ErrTooManyLists) {
		w.t.Errorf("one list too many: %v", err)
	}
	for i := range 100 {
		ev := &engine.Event{Domain: domain, Time: start, Now: start}
		ev.Subjects[hashing.Phone] = phone(i)
		if o := w.look(ev); len(o.Lists) != 0 {
			w.t.Fatalf("a phone of the refused call is on %v", o.Lists)
		}
	}
}
