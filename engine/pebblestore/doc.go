// Package pebblestore keeps ringfence's counts in an embedded Pebble store. It
// implements engine.Store, all of whose promises hold here without exception.
//
// Open a folder in live use; OpenMemory for replays and tests, which is the
// same code on a file system in memory.
//
// # How an event is committed
//
// Every subject belongs to one of 1,024 stripes. A mutation locks the stripes of all its
// subjects in order, reads the records, edits them in place, and applies one
// batch that holds everything it changes. It then unlocks, and only after that
// waits for the write-ahead log to reach the disk: so many mutations share one
// sync, and the next one on the same number need not wait for it. What the next one
// saw and had not reached the disk yet lies before it in the log, so it can
// never survive alone.
//
// A stripe also holds the records that were last used, so that a hot number
// costs no read.
//
// # Layout, format 1
//
// The first byte of a key names the table. Integers are big-endian.
//
//	key                                            value
//	01 "format"                                    format version (4)
//	01 "check" key id (2)                          key check (16)
//	10 kind (1) key id (2) pseudonym (16)          subject record: see package record
//	20 domain (2) event id (16)                    log entry: see package record
//	30 domain (2) digest (16)                      fingerprint (16), unix expiry (8), answer
//	40 domain (2) name                             list id (2)
//	41 domain (2) list id (2) subject (19)         unix time added (8), unix expiry or 0 (8), reason
//	50 domain (2) version (4)                      unix time adopted (8), policy document
//
// An event id begins with the time it was recorded, so an hour of the log is one
// range of keys.
package pebblestore
