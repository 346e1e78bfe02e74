// Package audit keeps a log of who did what, that nobody without the keyring can change
// unnoticed.
//
// The log is a folder of segments, each a file of lines of JSON. A segment is named after its
// first entry and holds the entries of one month (UTC). Every line has
//
//	seq    its number: one more than the line before
//	at, who, did, object, before, after   what happened, in words; object is the beginning of a token
//	prev   the first 16 bytes of the SHA-256 of the whole line before, in hex
//	key    the key of the keyring that mac was made with
//	mac    HMAC-SHA-256 under the keyring's audit subkey, 16 bytes, of all of the line before ,"mac"
//
// Verify recomputes all of it. What it cannot see is that the newest entries are missing: note
// the head that it prints, and compare. Whoever has the keyring can make another log.
//
// # What is promised
//
// Append returns when the entry is on the disk; entries that wait at the same time share one
// sync. Several processes may append to one log. When an entry cannot be written, that Append and all
// later ones fail, so that nothing goes on unseen. Old segments are dropped whole; that is an entry
// too, and the rest still verifies.
//
// # What is not
//
// An entry names a subject by the first letters of its token: enough to find the entries of a
// token one knows, too little to point at one number.
package audit
