package main

import (
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
	upgrade  bool             // accept an older format
	tolerant bool             // goes on when a block is damaged, to find all that are
	reserve  int64            // free bytes on the disk below which nothing is changed; 0 is the default
	ballast  int64            // see pebblestore.Options
	retain   engine.Retention // zero is what the server was last given
}

func (f *dataFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", ".ringfence", "data folder")
	cmd.Flags().StringVar(&f.keyring, "keyring", "", "keyring file (default keyring.json in the data folder; keep it elsewhere in production)")
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
	if errors.Is(err, os.ErrNotExist) && init {
		if _, err := os.Stat(folder); err == nil {
			return nil, nil, fmt.Errorf("the data folder has a store but its keyring is missing: %w", os.ErrNotExist)
		}
		ring, err = f.initKeyring()
		if err != nil {
			return nil, nil, err
		}
	} else if err != nil {
		return nil, nil, err
	}
	hasher, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		return nil, nil, err
	}
	o := pebblestore.Options{Keys: ring.KeyChecks(), Create: init, Upgrade: f.upgrade, Retention: f.retain, Log: log, Fatal: die, Reserve: f.reserve, Ballast: f.ballast}
	if f.tolerant {
		o.Damaged = func(error) {}
	}
	store, err := pebblestore.Open(folder, o)
	return store, hasher, err
}

// die ends the process for a store that cannot go on.
func die(err error) { os.Exit(report(fmt.Errorf("the store cannot go on: %w", err), os.Stderr)) }

// loadKeyring reads the keyring. Its errors name the file.
func (f *dataFlags) loadKeyring() (*hashing.Keyring, error) {
	ring, err := hashing.LoadKeyring(f.keyringPath())
	if errors.Is(err, hashing.ErrKeyring) {
		err = fmt.Errorf("%s: %w", f.keyringPath(), err)
	}
	return ring, err
}

func (f *dataFlags) initKeyring() (*hashing.Keyring, error) {
	path := f.keyringPath()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	ring, err := hashing.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		return nil, err
	}
	return ring, ring.WriteFile(path)
}

func newKeys() *cobra.Command {
	keys := &cobra.Command{Use: "keys", Short: "make and list keys"}
	var f dataFlags
	initialise := &cobra.Command{
		Use: "init", Short: "make a new keyring file", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := f.initKeyring(); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.ErrOrStderr(), "ringfence: wrote a new keyring; back it up apart from the data: without it nothing can be read")
			return err
		},
	}
	list := &cobra.Command{
		Use: "ls", Short: "list the keys, never their secrets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := f.loadKeyring()
			if err != nil {
				return err
			}
			for _, k := range ring.Keys() {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%d\t%s\t%s\t%s\n", k.ID, k.State, k.Scheme, k.Created.Format(time.RFC3339)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.add(initialise)
	f.add(list)
	keys.AddCommand(initialise, list)
	return keys
}
