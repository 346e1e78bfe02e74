package hashing

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// Wrap makes of the bytes of a plain keyring file those of one that can be
// read only with something else. Unwrap is its inverse, and is called only for
// a file that is not plain. Seal and Unseal are the pair for a passphrase; a
// pair that asks an external key service fits as well, as long as its files do not
// begin with a brace, which plain ones do. What they are given and return is secret: they keep and log none of it.
type Wrap func(plain []byte) ([]byte, error)

// Unwrap is the inverse of a Wrap.
type Unwrap func(file []byte) ([]byte, error)

// A sealed keyring is two lines:
//
//	ringfence-sealed-keyring/1 argon2id t=3 m=65536 p=4 salt=S xchacha20-poly1305 nonce=N
//	base64 of the plain file, encrypted
//
// The first line, with its end, is authenticated together with the second. S, N
// and the second line are base64 without padding. There is exactly one way to
// write a sealed file, so that no bit of it can change unnoticed.
const (
	sealedPrefix = "ringfence-sealed-keyring/"
	sealedHead   = sealedPrefix + "1 argon2id t=%d m=%d p=%d salt=%s xchacha20-poly1305 nonce=%s\n"

	saltSize      = 16
	minPassphrase = 12
)

// kdfParams are what argon2id is run with. What a new file gets is the second
// choice of RFC 9106 for memory that is scarce: 3 passes, 64 MiB, 4 lanes.
type kdfParams struct {
	time, memory uint32 // passes, KiB
	lanes        uint8
}

var (
	newParams  = kdfParams{time: 3, memory: 64 << 10, lanes: 4}
	leastParam = kdfParams{time: 3, memory: 64 << 10, lanes: 1}  // a weaker file was not written by this program
	mostParams = kdfParams{time: 16, memory: 1 << 20, lanes: 16} // a costlier one would let a forged file take the machine down
)

func (p kdfParams) bounded() bool {
	within := func(v, least, most uint32) bool { return v >= least && v <= most }
	return within(p.time, leastParam.time, mostParams.time) && within(p.memory, leastParam.memory, mostParams.memory) &&
		within(uint32(p.lanes), uint32(leastParam.lanes), uint32(mostParams.lanes))
}

// key runs argon2id version 1.3.
func (p kdfParams) key(passphrase, salt []byte) []byte {
	return argon2.IDKey(passphrase, salt, p.time, p.memory, p.lanes, chacha20poly1305.KeySize)
}

// sealedText encodes exactly one way.
var sealedText = base64.RawStdEncoding.Strict()

// sealedFile is a sealed keyring, read but not opened.
type sealedFile struct {
	kdfParams
	aeadBox
	salt []byte
}

func (s *sealedFile) head() []byte {
	return fmt.Appendf(nil, sealedHead, s.time, s.memory, s.lanes, sealedText.EncodeToString(s.salt), sealedText.EncodeToString(s.nonce))
}

func (s *sealedFile) encode() []byte {
	return append(sealedText.AppendEncode(s.head(), s.sealed), '\n')
}

// parseSealed reads a sealed file. It accepts only what encode writes.
func parseSealed(file []byte) (*sealedFile, error) {
	const hint = "restore the file from its backup"
	head, text, _ := bytes.Cut(file, []byte("\n"))
	var s sealedFile
	var salt, nonce string
	if _, err := fmt.Sscanf(string(head)+"\n", sealedHead, &s.time, &s.memory, &s.lanes, &salt, &nonce); err != nil {
		return nil, &KeyringError{"line 1", "not the first line of a sealed keyring that this program knows", "use the program that wrote it, or a newer one; else " + hint}
	}
	var err [3]error
	s.salt, err[0] = sealedText.DecodeString(salt)
	s.nonce, err[1] = sealedText.DecodeString(nonce)
	s.sealed, err[2] = sealedText.DecodeString(string(bytes.TrimSuffix(text, []byte("\n"))))
	switch {
	case err != [3]error{} || len(s.salt) != saltSize || len(s.nonce) != chacha20poly1305.NonceSizeX || !bytes.Equal(s.encode(), file):
		return nil, &KeyringError{"", "a sealed keyring that was changed or cut", hint}
	case !s.bounded():
		return nil, &KeyringError{"line 1", "parameters of argon2id that are too cheap or too costly", hint}
	}
	return &s, nil
}

// aeadBox is something encrypted with XChaCha20-Poly1305.
type aeadBox struct{ nonce, sealed []byte }

// open decrypts. It is an error when the box or what is beside it was changed.
func (b *aeadBox) open(key, beside []byte) ([]byte, error) {
	if len(b.nonce) != chacha20poly1305.NonceSizeX {
		return nil, errBox
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, b.nonce, b.sealed, beside)
	if err != nil {
		return nil, errBox
	}
	return plain, nil
}

// close encrypts. What is beside stays in the clear and is authenticated.
func (b *aeadBox) close(key, plain, beside []byte) error {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return err
	}
	b.sealed = aead.Seal(nil, b.nonce, plain, beside)
	return nil
}

var errBox = &KeyringError{"", "the sealed file does not open: another passphrase, or the file was changed",
	"give the passphrase it was sealed with, or restore it from its backup"}

// Seal returns the Wrap of a passphrase of at least 12 bytes: XChaCha20-Poly1305
// under a key that argon2id derives from it. random is crypto/rand.Reader but in tests.
func Seal(passphrase []byte, random io.Reader) Wrap {
	return func(plain []byte) ([]byte, error) {
		if len(passphrase) < minPassphrase {
			return nil, &KeyringError{"", fmt.Sprintf("a passphrase of fewer than %d bytes", minPassphrase), "take five words or more, or 16 random characters"}
		}
		s := sealedFile{kdfParams: newParams, salt: make([]byte, saltSize), aeadBox: aeadBox{nonce: make([]byte, chacha20poly1305.NonceSizeX)}}
		for _, b := range [][]byte{s.salt, s.nonce} {
			if _, err := io.ReadFull(random, b); err != nil {
				return nil, fmt.Errorf("no randomness to seal with: %w", err)
			}
		}
		key := s.key(passphrase, s.salt)
		defer clear(key)
		if err := s.close(key, plain, s.head()); err != nil {
			return nil, err
		}
		return s.encode(), nil
	}
}

// Unseal returns the Unwrap of a passphrase, which is asked for once the file has
// been found to be a sealed one.
func Unseal(passphrase func() ([]byte, error)) Unwrap {
	return func(file []byte) ([]byte, error) {
		s, err := parseSealed(file)
		if err != nil {
			return nil, err
		}
		p, err := passphrase()
		if err != nil {
			return nil, err
		}
		defer clear(p)
		key := s.key(p, s.salt)
		defer clear(key)
		return s.open(key, s.head())
	}
}
