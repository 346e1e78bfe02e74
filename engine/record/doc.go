// Package record is the one place that knows what is kept of a subject, and
// how an event changes it. Store drivers keep the bytes; nobody else counts.
//
// A Record is edited in place: Load it from bytes (none for a subject not seen
// before), Apply an event, and store Bytes. The same Record is then Measured
// for a policy's signals. An Entry is one line of the event log, and an Effect
// one line of the journal: together they hold everything that ever changed a
// record, so that one that was lost with the memory it lay in can be made again.
//
// Everything is pure: no input or output, no clock. Neither type is safe for
// concurrent use; both are meant to be used again, and then do not allocate.
//
// # Layout of a subject record, version 1
//
// All integers are big-endian. A Time is 4 bytes, seconds since 2020-01-01 UTC;
// zero is "never".
//
//	offset  bytes
//	0       1     version: 1
//	1       4     Time first seen, of the present generation
//	5       4     Time last seen
//	9       8     Seq of the newest event of whichever generation, 0 for none; in records released by
//	              earlier programs, of the present one
//	17      ...   sections, in ascending order of their id, each at most once
//
//	section id     body, each of which tells its own length
//	1 to 31        events counted, id = scoring.Event    package window, Count
//	32 to 47       members told apart, id = 31 + scoring.Member    package window, Distinct
//	48             links: number (2), then per account: tag (8), Time linked
//	49             generation (4): how often the phone was released
//	50             labels: events labelled abuse (4), legitimate (4)
//	51             lists: number (1), then per list: id (2), Time of expiry or 0 for never
//	52             Seq of the newest change (8), where that is no event
//
// A phone seen once, with an account, a device, an address and a country,
// takes 63 bytes.
//
// # Layout of a log entry, versions 2 to 4
//
// "uv" is an unsigned and "sv" a signed varint of package encoding/binary.
//
//	1     version: 2, or 3 where policies ran in shadow, or 4 where something was told of the event; entries of version 1 lack
//	      what is marked so, and are read too
//	1     scoring.Event
//	1     flags: 1 verified, 2 claimed, 4 held out, 8 a number was given, 16 and is valid,
//	      32 linked at once (not in 1), 64 a country was given (not in 1)
//	sv    unix seconds when it happened
//	sv    how many seconds later it was committed (not in 1)
//	2     country, if one was given (not in 1)
//	1     which subjects follow: bit k for hashing.Kind k
//	...   per subject: key id (2), pseudonym (16)
//	8     link tag, if an account is among the subjects
//	8     Seq of the phone's event before this one, 0 for none
//	uv    generation of the phone
//	1     scoring.Decision
//	1     score
//	uv    policy version
//	uv    number of values, then per value: 0 for unknown, 1 and eight bytes of
//	      IEEE 754, or n+2 for the whole number n
//	uv    number of outcomes that came with the event, and until version 3 of all that there are, then per outcome: scoring.Event (1),
//	      sv unix seconds, length of the source (1), source
//	1     version 4: number of reports, 1 to 32, then per report, in the order in which they came: scoring.Event, or 0 when the
//	      account was unlinked, with bit 7 set when it is stale (1), sv unix seconds, length of the source (1), source; but for stale
//	      ones also uv how far its Seq is behind that of the event, sv how many seconds later it was recorded
//	1     versions 3 and 4: number of policies in shadow, 0 to 4 (not 0 in 3), then per policy: uv version, scoring.Decision,
//	      with bit 7 set when it would have been held out (1), score (1), uv number of further values, each as above
//
// # Layout of an effect, version 1
//
//	1     version: 1
//	1     Op
//	sv    unix seconds when it happened
//	sv    how many seconds later it was committed
//	1     which subjects follow: bit k for hashing.Kind k
//	...   per subject: key id (2), pseudonym (16)
//	...   OpOutcome: scoring.Event (1), the one it replaced or 0 (1), 1 if an account was linked (1), link tag (8)
//	...   OpUnlink: link tag (8)
//	...   OpList: list id (2), sv unix seconds of expiry or 0
//	...   OpUnlist: list id (2)
//	...   OpMigrate: uv length of the record, record
//	...   OpSweep, OpLapse: nothing
//	...   OpErase without a phone: scoring.Event (1), flags (1: 1 verified, 2 a country was given), the phone's
//	      member tag (4), country, if one was given (2)
package record
