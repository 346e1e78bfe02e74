package hashing

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// ReadSecret reads a file that nobody but its owner may use, and whose owner is
// the user of this process or root. It is a KeyringError when somebody else may use it,
// when it is no regular file, or when it is larger than most bytes.
//
// A group may read, and not write, a file of root's when this process is not root's: so
// Kubernetes and systemd hand secrets down to a user of their making.
func ReadSecret(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait
		return nil, &KeyringError{"", "not a regular file", "name the file itself"}
	}
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err = f.Stat(); err != nil { // of what was opened, whatever the name means by now
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, &KeyringError{"", "not a regular file", "name the file itself"}
	case info.Mode().Perm()&^handedDown(info)&0o077 != 0:
		return nil, &KeyringError{"", "others than its owner may use the file", "take their rights away: chmod 600 on the file"}
	case !ours(info):
		hint := "chown it to the user that ringfence runs as"
		if os.Geteuid() == 0 { // who would take it away from that user
			hint = "run this as that user, as the server does"
		}
		return nil, &KeyringError{"", "the file belongs to another user", hint}
	case info.Size() > most:
		return nil, &KeyringError{"", "the file is too large", "is this the right file?"}
	}
	return io.ReadAll(io.LimitReader(f, most))
}

// OpenKeyring reads a keyring file under the rules of ReadSecret. unwrap is called for one that is not plain; nil
// refuses it. A missing file is os.ErrNotExist to errors.Is.
func OpenKeyring(path string, unwrap Unwrap) (*Keyring, error) {
	b, err := ReadSecret(path, maxKeyringSize)
	if err != nil {
		return nil, err
	}
	if plain(b) {
		return ParseKeyring(b)
	}
	if unwrap == nil {
		return nil, &KeyringError{"", "sealed, or no keyring at all", "give its passphrase"}
	}
	b, err = unwrap(b)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	return ParseKeyring(b)
}

// plain reports whether a keyring file begins as JSON does.
func plain(file []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(file, " \t\r\n"), []byte("{"))
}

// LoadKeyring is OpenKeyring for a plain file.
func LoadKeyring(path string) (*Keyring, error) { return OpenKeyring(path, nil) }

// encode returns the bytes of the keyring's file, through wrap if it is not nil.
func (k *Keyring) encode(wrap Wrap) ([]byte, error) {
	b, err := json.MarshalIndent(k.p.v, "", "  ")
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	if wrap == nil {
		return b, nil
	}
	defer clear(b)
	return wrap(b)
}

// WriteFile is WriteSealed without sealing.
func (k *Keyring) WriteFile(path string) error { return k.WriteSealed(path, nil) }

// WriteSealed writes the keyring to a new file that only its owner may use, and
// returns when it is on the disk. It never writes over a file: that is
// os.ErrExist to errors.Is. A nil wrap leaves the file plain.
func (k *Keyring) WriteSealed(path string, wrap Wrap) error {
	b, err := k.encode(wrap)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return syncFolder(filepath.Dir(path))
}

// ChangeFile replaces the file of a keyring with what change makes of it, sealed by the wrap that change returns, or plain where that is nil. It returns the
// new keyring. Whenever the machine stops, the old file or the new one is there, whole. Two changes at a time do not lose one another: the second
// is refused with a KeyringError before it reads anything. The old bytes stay on the disk until their blocks are used again.
func ChangeFile(path string, unwrap Unwrap, change func(*Keyring) (*Keyring, Wrap, error)) (*Keyring, error) {
	next := path + ".new"                                                 // its name is the lock
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names the file
	if errors.Is(err, os.ErrExist) {
		return nil, &KeyringError{"", "another command is changing it, or was stopped in the middle", "if none is running, remove the file of this name with .new behind it"}
	}
	if err != nil {
		return nil, err
	}
	k, err := changeInto(f, path, unwrap, change)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(next))
	}
	return k, syncFolder(filepath.Dir(path))
}

// changeInto writes what change makes of the keyring at path to a file, durably.
func changeInto(f *os.File, path string, unwrap Unwrap, change func(*Keyring) (*Keyring, Wrap, error)) (*Keyring, error) {
	k, err := OpenKeyring(path, unwrap)
	if err != nil {
		return nil, err
	}
	k, wrap, err := change(k)
	if err != nil {
		return nil, err
	}
	b, err := k.encode(wrap)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(b)
	return k, errors.Join(err, f.Sync())
}

// syncFolder makes a new file's name durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the folder of the operator's file
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
