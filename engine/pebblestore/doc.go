// Package pebblestore keeps ringfence's counts in an embedded Pebble store. It
// implements engine.Store, all of whose promises hold here without exception.
//
// Open a folder in live use; OpenMemory for replays and tests, which is the
// same code on a file system in memory.
//
// # How an event is committed
//
// The log is the truth. Every change is numbered and written as one small line, to the event
// log or to the journal of other changes, which says everything that the change does to
// records. The records themselves are kept in memory and brought to the tables later.
//
// Every subject belongs to one of 1,024 shards. A change locks the shards of all its
// subjects in order, reads the records, edits copies of them, applies one small batch, and
// puts the edited records in their places. It then unlocks, and only after that
// waits for the write-ahead log to reach the disk: so many changes share one
// sync, and the next one on the same number need not wait for it. What the next one
// saw and had not reached the disk yet lies before it in the log, so it can
// never survive alone.
//
// # How records reach the tables
//
// A flush goes over the shards in sixteen groups. It copies what is dirty, waits until the log
// is durable past it, writes sorted tables, and has Pebble take them over: no record passes
// through the write-ahead log or a memtable. Behind it the watermark says up to which number the tables
// hold every change. Opening the store makes the changes behind the watermark
// again; a record knows the newest change that it holds, and skips what it has. Both the bytes that
// are dirty and the changes behind the watermark are bounded, and with them the time that takes.
//
// What must hold, and what would go wrong otherwise:
//
//   - A table is taken over only when the log is durable past everything in it, or a record would
//     count an event that after a crash never happened.
//   - A record leaves memory only when it is clean and the flush that copied it is through, or the
//     next reader would find an older one in the tables.
//   - The watermark is a number taken before the flush began. Any later one might cover a
//     change of a shard that the flush had passed already. A flush during recovery takes that
//     of the last change made again: the log goes on behind it.
//   - The range of records sees no write but tables, or each of them would force out the memtable.
//
// # How subjects move to another key
//
// Migrate puts the record of a subject under its new key, and nothing under the old one: one line of the journal for
// each, which holds the whole record, so that recovery makes every record again by itself. A forward leads from the
// old subject to the new one. A step goes along forwards before it locks, and looks once more when it has: nobody can move a
// subject that is locked. Events keep the subjects of their time; whoever reads them is told those of today. Forwards stay as long as
// the old key.
//
// # What damage shows
//
// Tables have checksums, and Pebble stops the process on one that does not match. Of the log and of its manifest Pebble takes the
// first line that does not match for the end, as a power cut leaves it. So the log is sealed behind every change
// within a moment, and a file named guard holds the checksum of the manifest: Open returns
// engine.ErrCorrupt, and has touched nothing, when something durable cannot be read. What cannot be told from a power cut is damage
// to the last moment of the log before a crash. A backup is whole: Open refuses one of which any byte has changed, by
// the list in SumsName.
//
// # Layout, format 4
//
// The first byte of a key names the table. Integers are big-endian.
//
//	key                                            value
//	01 "format"                                    format version (4)
//	01 "check" key id (2)                          key check (16)
//	01 "watermark"                                 number of a change (8)
//	01 "retention"                                 nanoseconds for subjects (8) and events (8), bytes of the log (8)
//	01 "clock"                                     unix time (8): what expired before may be gone
//	01 "unlinked"                                  number (8) up to which a phone's events may not all be linked, of a store that was upgraded
//	10 kind (1) key id (2) pseudonym (16)          subject record: see package record
//	20 domain (2) event id (16)                    log entry: see package record
//	21 number (8)                                  effect: see package record; forgotten some time behind the watermark
//	30 domain (2) digest (16)                      fingerprint (16), unix expiry (8), answer
//	40 domain (2) name                             list id (2)
//	41 domain (2) list id (2) subject (19)         unix time added (8), unix expiry or 0 (8), reason
//	50 domain (2) version (4)                      unix time added (8), policy document
//	51 domain (2) version (4)                      JSON: author, note, the version it equals; missing in stores of older programs
//	52 domain (2) number (8)                       JSON: a change of which policies are in force
//	53 domain (2)                                  JSON: live version, shadows, number of changes; missing: the newest is live
//	53 domain (2) version (4)                      JSON: calibration of the version
//	54 subject (19)                                subject that it was moved to (19), link tag (8), zero but for accounts
//	55 subject (19) subject (19)                   nothing: the first was moved here from the second
//
// An event id begins with its number, which is the time it was recorded where clocks allow, so
// an hour of the log is one range of keys.
package pebblestore
