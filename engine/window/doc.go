// Package window counts events, and tells members apart, over any window of
// time that may be asked for later, in a few bytes.
//
// Fixed counters, an hour's and a day's, force a policy to know its windows
// before the data arrives. The two structures here do not:
//
//   - Count is an exponential histogram (Datar, Gionis, Indyk, Motwani 2002).
//     It is exact for any window that holds at most 32 events, and within 1/64
//     of the truth beyond.
//   - Distinct is a recency wave (after Gibbons and Tirthapura 2002). It is
//     exact for any window that holds at most 64 members, and has a standard
//     error of about 15 % beyond.
//
// Both are plain bytes that tell their own length, so that they can lie one
// after the other in a record. They are edited in place: a function that
// changes one takes its bytes, none for an empty one, and returns the bytes
// after the change, in the same memory where there is room. Nothing is decoded,
// and nothing but growth allocates. The functions are pure; who shares bytes
// between goroutines locks.
//
// A window of W seconds that ends now is (now-W, now]: open at its start, closed at its end.
// What lies after now is not counted.
//
// The functions that edit or query expect bytes that CountSize or DistinctSize
// accepted; those two accept or refuse any bytes at all.
//
// # Layout
//
// Integers are big-endian. A Time is 4 bytes. A structure of one level, which
// nearly all are, is
//
//	1     number of entries, 0 to 64
//	...   entries, oldest first
//
// and one with more levels, or with something to remember besides, is
//
//	1     0x80 + number of levels, 1 to 32
//	...   per level, lowest first: number of entries (1)
//	4     Count: events that were too old to be placed
//	...   Distinct: per level, lowest first: the newest Time that it evicted, 0 for none
//	...   per level, lowest first: its entries, oldest first
//
// An entry of Count is a Time. At level i it stands for 2^i events, and is the
// time of the newest of them. A level has at most 33 entries: a 34th merges the two
// oldest into one of the next level, with the newer time.
//
// An entry of Distinct is a member's tag (4) and the Time it was last seen.
// Level i holds the 64 most recently seen members whose tag begins with at
// least i zero bits. A level is begun when the one below it evicts for the first time.
package window
