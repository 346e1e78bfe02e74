// Package access knows who may ask what, and how much.
//
// A caller shows a key:
//
//	rf_<id>_<secret>_<check>
//
// id is 8 characters and no secret: it names the key in lists, logs and the
// audit. secret is 32 random bytes, of which only the SHA-256 is kept: that needs no
// salt and no slow hash, since nobody can try 2^256 of them. check is a CRC-32 of
// all before it: it tells a mistyped key from a wrong one, and lets a scanner
// find keys in places where they do not belong.
//
// Keys lie in one file, which is replaced as a whole; a Ring notices that at the next
// request, so that keys are made and revoked beside a running server. A
// Meter counts what one key asks for.
//
// # What is promised
//
// A secret shows nothing of itself when formatted, logged or encoded. Comparing takes as
// long for an unknown id as for a wrong secret.
//
// # What is not
//
// What a Meter has counted is in memory: a restart begins a new day.
package access
