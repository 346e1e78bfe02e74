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
// new keyring. It is ReplaceSecret otherwise; where another change is under way that is a KeyringError. The old bytes stay on the disk until their blocks are used again.
func ChangeFile(path string, unwrap Unwrap, change func(*Keyring) (*Keyring, Wrap, error)) (k *Keyring, err error) {
	err = ReplaceSecret(path, func() ([]byte, error) {
		if k, err = OpenKeyring(path, unwrap); err != nil {
			return nil, err
		}
		var wrap Wrap
		if k, wrap, err = change(k); err != nil {
			return nil, err
		}
		return k.encode(wrap)
	})
	if errors.Is(err, ErrChanging) {
		err = &KeyringError{"", ErrChanging.Error(), "if none is running, remove the file of this name with .new behind it"}
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// ErrChanging is a change of a file during another one.
var ErrChanging = errors.New("another command is changing it, or was stopped in the middle")

// ReplaceSecret replaces a file that only its owner may use, or makes it, with what next returns, which may read the file of before. Whenever the machine
// stops, the old file or the new one is there, whole; it is on the disk when ReplaceSecret returns. Two changes at a time do not lose one another: the
// second is refused with ErrChanging before it calls next.
func ReplaceSecret(path string, next func() ([]byte, error)) error {
	name := path + ".new"                                                 // the lock
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names the file
	if errors.Is(err, os.ErrExist) {
		return ErrChanging
	}
	if err != nil {
		return err
	}
	b, err := next()
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil {
		err = f.Sync()
	}
	ours := names(name, f)
	if err = errors.Join(err, f.Close()); !ours { // somebody took the lock away, and may have begun a change: what lies there is not ours to move or remove
		return errors.Join(err, ErrChanging)
	}
	if err == nil {
		err = os.Rename(name, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return syncFolder(filepath.Dir(path))
}

// names reports whether a name is that of an open file.
func names(name string, f *os.File) bool {
	there, err := os.Lstat(name)
	if err != nil {
		return false
	}
	open, err := f.Stat()
	return err == nil && os.SameFile(there, open)
}

// syncFolder makes a new file's name durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the folder of the operator's file
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
