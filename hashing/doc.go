// Package hashing turns a phone number into a pseudonym, and forgets the number.
//
// Parse reads what a person typed. A Keyring holds the secret pepper; its
// Hasher for a domain turns numbers, account ids, addresses and device ids into
// Subjects, which is all that the rest of the program ever sees:
//
//	number, err := hashing.Parse("+44 7700 900123", "GB")
//	hasher, err := keyring.Domain("default")
//	phone := hasher.Phone(number)
//
// # What is promised
//
// A Number, a Keyring and a Hasher show nothing of what they hold
// when they are printed, logged or encoded, also inside other values. No
// error holds any of the input. A Subject can be stored: it is a keyed hash
// (HMAC-SHA-256, truncated to 16 bytes, under a subkey of its own for every domain
// and kind), so that without the keyring it cannot be tried against the 10^11
// numbers there are, and pseudonyms of two domains cannot be joined.
//
// # What is not
//
// Whoever has the keyring and the stored pseudonyms has the numbers, after
// hours of computing. Keep the keyring away from the store.
//
// A keyring file is sealed under a passphrase (Seal), wrapped by an external key
// service (Wrap), or plain with a mode that keeps others out.
//
// This is the only package that imports the phone number library and
// golang.org/x/crypto.
package hashing
