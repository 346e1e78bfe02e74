package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
)

// dataFlags are the flags of every command that works on a data folder.
type dataFlags struct {
	data     string
	keyring  string
	domain   string           // "" is the default one
	upgrade  bool             // accept an older format
	tolerant bool             // goes on when a block is damaged, to find all that are
	reserve  int64            // free bytes on the disk below which nothing is changed; 0 is the default
	ballast  int64            // see pebblestore.Options
	retain   engine.Retention // zero is what the server was last given
	memory   memoryFlags

	passphraseFile string
	callers        string
	sealed         bool             // the keyring that was loaded is
	ring           *hashing.Keyring // what open loaded or made
	cmd            *cobra.Command   // asks for a passphrase
	fatal          func(error)      // ends the process for a store that cannot go on; nil is die
}

func (f *dataFlags) add(cmd *cobra.Command) {
	textSetting(cmd.Flags(), &f.data, "data")
	textSetting(cmd.Flags(), &f.keyring, "keyring")
	textSetting(cmd.Flags(), &f.passphraseFile, "passphrase_file")
	f.cmd = cmd
}

// addDomain adds the flag of commands that work in one domain.
func (f *dataFlags) addDomain(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.domain, "domain", hashing.DefaultDomain, "domain of the keyring: see ringfence keys domains")
}

func (f *dataFlags) keyringPath() string {
	if f.keyring != "" {
		return f.keyring
	}
	return filepath.Join(f.data, "keyring.json")
}

// open opens the store with its keyring. With init, it makes what is missing;
// but never a keyring for a store that is there already.
func (f *dataFlags) open(init bool, log *slog.Logger) (*pebblestore.Store, *hashing.Hasher, error) {
	folder := filepath.Join(f.data, "store")
	ring, err := f.loadKeyring()
	if errors.Is(err, errNoKeyring) && init {
		ring, err = f.initKeyring(f.passphrase().path() != "")
	}
	if err != nil {
		return nil, nil, err
	}
	f.ring = ring
	hasher, err := ring.Domain(cmp.Or(f.domain, hashing.DefaultDomain))
	if err != nil {
		return nil, nil, err
	}
	o := f.options(ring, log)
	o.Create = init
	if f.tolerant {
		o.Damaged = func(error) {}
	}
	store, err := pebblestore.Open(folder, o)
	return store, hasher, err
}

func (f *dataFlags) options(ring *hashing.Keyring, log *slog.Logger) pebblestore.Options {
	o := pebblestore.Options{Keys: ring.KeyChecks(), Upgrade: f.upgrade, Retention: f.retain, Log: log, Fatal: f.fatal, Reserve: f.reserve, Ballast: f.ballast}
	if o.Fatal == nil {
		o.Fatal = die
	}
	f.memory.bound(&o)
	return o
}

// rewrite rewrites the store, which nobody else may have open.
func (f *dataFlags) rewrite(ctx context.Context) error {
	ring, err := f.loadKeyring()
	if err != nil {
		return err
	}
	return pebblestore.Rewrite(ctx, filepath.Join(f.data, "store"), f.options(ring, slog.New(slog.DiscardHandler)))
}

// die ends the process for a store that cannot go on.
func die(err error) { os.Exit(report(fmt.Errorf("the store cannot go on: %w", err), os.Stderr)) }

var (
	// errNoKeyring is an installation that has not begun.
	errNoKeyring = errors.New("there is no keyring")
	// errLostKeyring is one that has a store already.
	errLostKeyring = errors.New("the keyring of the store is missing")
)

// loadKeyring reads the keyring. Its errors name the file.
func (f *dataFlags) loadKeyring() (*hashing.Keyring, error) {
	if err := f.missing(); err != nil {
		return nil, err
	}
	ring, err := hashing.OpenKeyring(f.keyringPath(), f.unwrap)
	if errors.Is(err, hashing.ErrKeyring) {
		err = fmt.Errorf("%s: %w", f.keyringPath(), err)
	}
	return ring, err
}

// missing reports a keyring that is not there: one that has not been made, or one that is lost.
func (f *dataFlags) missing() error {
	if _, err := os.Stat(f.keyringPath()); !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(filepath.Join(f.data, "store")); err == nil {
		return fmt.Errorf("%s: %w", f.keyringPath(), errLostKeyring)
	}
	return fmt.Errorf("%s: %w", f.keyringPath(), errNoKeyring)
}

// initKeyring makes a new keyring, sealed or plain.
func (f *dataFlags) initKeyring(seal bool) (*hashing.Keyring, error) {
	path := f.keyringPath()
	if _, err := os.Stat(path); err == nil {
		return nil, fmt.Errorf("%s: %w", path, os.ErrExist) // before anybody types a passphrase
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	ring, err := hashing.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		return nil, err
	}
	var w hashing.Wrap
	if f.sealed = seal; seal {
		if w, err = wrap(f.passphrase()); err != nil {
			return nil, err
		}
	}
	if err := ring.WriteSealed(path, w); err != nil {
		return nil, err
	}
	return ring, f.noteDown(ring, "keys.init", "no keyring", map[bool]string{true: "a new keyring, sealed", false: "a new keyring, not sealed"}[seal])
}
