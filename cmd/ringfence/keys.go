package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api/server"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
)

func newKeys() *cobra.Command {
	keys := &cobra.Command{Use: "keys", Short: "make, list, rotate and destroy keys"}
	keys.AddCommand(newKeysInit(), newKeysLs(), newKeysRotate(), newKeysDestroy(), newReseal(), newDomains())
	return keys
}

func newKeysInit() *cobra.Command {
	var f dataFlags // each command its own, since a passphrase is asked for by the command that runs
	var seal bool
	cmd := &cobra.Command{
		Use: "init", Short: "make a new keyring file", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := f.initKeyring(seal); err != nil {
				return err
			}
			if !seal {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "ringfence: warning: %s\n", plainKeyring)
			}
			_, err := fmt.Fprintln(cmd.ErrOrStderr(), "ringfence: wrote a new keyring; back it up apart from the data: without it nothing can be read")
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&seal, "seal", false, "seal it with a passphrase, from --passphrase-file, a systemd credential or the terminal")
	return cmd
}

func newKeysLs() *cobra.Command {
	var f dataFlags
	cmd := &cobra.Command{
		Use: "ls", Short: "list the keys, never their secrets", Args: cobra.NoArgs,
		Long: "Prints id, state, scheme and time of creation. After a rotation, while an older key is readable, also how many subjects of all domains are kept under each:\n" +
			"the store, or the server that has it open, counts them.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := f.loadKeyring()
			if err != nil {
				return err
			}
			use, err := f.keyUse(cmd.Context(), ring)
			if err != nil { // the keyring is what was asked for
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "ringfence: subjects cannot be counted: %v\n", err)
			}
			for _, k := range ring.Keys() {
				line := []string{strconv.Itoa(k.ID), string(k.State), k.Scheme, k.Created.Format(time.RFC3339)}
				if use != nil {
					line = append(line, fmt.Sprintf("%d subjects", subjectsOf(ring, use, k.ID)))
				}
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), strings.Join(line, "\t")); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

// keyUse has the subjects under each key counted, nil where there is no store, or no key but the primary.
func (f *dataFlags) keyUse(ctx context.Context, ring *hashing.Keyring) (use map[hashing.KeyID]uint64, err error) {
	if !rotated(ring) {
		return nil, nil
	}
	if _, err := os.Stat(filepath.Join(f.data, "store")); err != nil {
		return nil, nil //nolint:nilerr // nothing is counted yet
	}
	answer, err := f.do(ctx, job{Do: "keys"})
	if err != nil {
		return nil, err
	}
	if text, asked := answer.(json.RawMessage); asked {
		return use, json.Unmarshal(text, &use)
	}
	return answer.(map[hashing.KeyID]uint64), nil //nolint:forcetypeassert // job.run returns it
}

// rotated reports whether a keyring has an older key that is readable.
func rotated(ring *hashing.Keyring) bool {
	for _, k := range ring.Keys() {
		if k.State == hashing.Readable {
			return true
		}
	}
	return false
}

// pairsOf returns the ids that subjects of all domains have under a key.
func pairsOf(ring *hashing.Keyring, key int) (ids []hashing.KeyID) {
	for _, d := range ring.Domains() {
		for _, k := range d.Keys {
			if k.Key == key {
				ids = append(ids, k.ID)
			}
		}
	}
	return ids
}

func subjectsOf(ring *hashing.Keyring, use map[hashing.KeyID]uint64, key int) (n uint64) {
	for _, id := range pairsOf(ring, key) {
		n += use[id]
	}
	return n
}

const rotateHelp = `Adds a new key to the keyring file and makes it primary. What is kept under the key of before stays readable, and moves to the new key when its
number, account, address or device is next seen: no number is needed, and nothing is counted twice or forgotten. Tokens and assessment ids
that were given out stay good.

A server that has the data folder open goes on with the new key at once, unless the passphrase was typed at its terminal: then it says so,
and has to be started anew.
Watch how far it is with "keys ls", GET /v1/privacy or the metric ringfence_key_subjects; once what is left has outlived its
retention, or can be given up, end it with "keys destroy". Back the keyring up again: the old copy opens nothing that moved.`

func newKeysRotate() *cobra.Command {
	var f dataFlags
	cmd := &cobra.Command{
		Use: "rotate", Short: "make a new primary key; the one of before stays readable", Long: rotateHelp, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := f.changeKeyring("keys.rotate", "", "a new primary key; the one of before is readable", func(ring *hashing.Keyring) (*hashing.Keyring, error) {
				return ring.Rotate(rand.Reader, time.Now())
			})
			if err != nil {
				return err
			}
			said := "a server that runs goes on with it"
			_, refused := askAdmin(cmd.Context(), f.data, job{Do: "rekey"}, nil)
			switch {
			case errors.Is(refused, errNoAdmin):
				said, refused = "a server takes it when it is started", nil
			case refused != nil:
				said = "the server that runs did not say that it goes on with it"
			}
			_, err = fmt.Fprintln(cmd.ErrOrStderr(), "ringfence: wrote a new primary key; back the keyring up again; "+said)
			return errors.Join(refused, err)
		},
	}
	f.add(cmd)
	return cmd
}

const destroyHelp = `Takes the secret of an older key out of the keyring file, and what is kept under it out of the store: nobody can read it any more, not even who
copied the data before, unless there is a copy of the keyring. Stop the server first. Destroy old copies of the keyring, too.

It refuses while an older key can still be read: destroy that one first. It also refuses while subjects have not moved to a newer key. --force gives them up: their counts, links and entries on lists are gone for
ever, and it says which lists have to be imported again. Events stay until they expire; whom they are of nobody can tell any more. The
bytes leave the disk with time, or at once with: ringfence store compact --hard`

func newKeysDestroy() *cobra.Command {
	var f dataFlags
	var force bool
	cmd := &cobra.Command{
		Use: "destroy ID", Short: "destroy an older key, and what is kept under it", Long: destroyHelp, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.Atoi(args[0])
			if err != nil {
				return usage("ID is a number: see ringfence keys ls")
			}
			done := &pebblestore.Destroyed{}
			err = f.changeKeyring("keys.destroy", fmt.Sprintf("key %d readable", id), fmt.Sprintf("key %d destroyed", id), func(ring *hashing.Keyring) (*hashing.Keyring, error) {
				next, err := ring.Destroy(id)
				if err != nil {
					return nil, err
				}
				done, err = f.destroy(cmd.Context(), ring, pairsOf(ring, id), force)
				return next, err
			})
			if err != nil {
				return err
			}
			text := fmt.Sprintf("ringfence: destroyed key %d; %d subjects that had not moved are gone", id, done.Subjects)
			if len(done.Lists) > 0 {
				text += "; import again: " + strings.Join(done.Lists, ", ")
			}
			_, err = fmt.Fprintln(cmd.ErrOrStderr(), text)
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "also when subjects have not moved to a newer key")
	return cmd
}

// destroy takes what is kept under some keys out of the store, if there is one.
func (f *dataFlags) destroy(ctx context.Context, ring *hashing.Keyring, keys []hashing.KeyID, force bool) (*pebblestore.Destroyed, error) {
	folder := filepath.Join(f.data, "store")
	if _, err := os.Stat(folder); errors.Is(err, os.ErrNotExist) {
		return new(pebblestore.Destroyed), nil
	}
	done, err := pebblestore.Destroy(ctx, folder, f.options(ring, slog.New(slog.DiscardHandler)), keys, force)
	var inUse *pebblestore.KeysInUse
	if errors.As(err, &inUse) {
		err = fmt.Errorf("%w: %w", errKeyInUse, err)
	}
	return done, err
}

// errKeyInUse is a key that is not destroyed, since there are subjects under it.
var errKeyInUse = errors.New("the key is in use")

// keyWatch knows the keyring of a server, and how many subjects are under each key.
type keyWatch struct {
	flags *dataFlags
	store *pebblestore.Store
	log   *slog.Logger
	kick  chan struct{} // count now

	rekeying sync.Mutex // held during a rekey
	mu       sync.Mutex
	ring     *hashing.Keyring         // guarded by mu
	counted  map[hashing.KeyID]uint64 // guarded by mu; nil before the first time
	at       time.Time                // guarded by mu: when counted was
}

func newKeyWatch(f *dataFlags, store *pebblestore.Store, log *slog.Logger) *keyWatch {
	return &keyWatch{flags: f, store: store, log: log, ring: f.ring, kick: make(chan struct{}, 1)}
}

// countEvery is how often subjects are counted while there is an older key.
const countEvery = 10 * time.Minute

// run counts until ctx ends.
func (k *keyWatch) run(ctx context.Context) {
	for {
		if rotated(k.keyring()) {
			use, err := k.store.KeyUse(ctx)
			if err == nil {
				k.mu.Lock()
				k.counted, k.at = use, time.Now()
				k.mu.Unlock()
			} else if ctx.Err() == nil {
				k.log.Error("the subjects under each key cannot be counted, and will be later", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-k.kick:
		case <-time.After(countEvery):
		}
	}
}

func (k *keyWatch) keyring() *hashing.Keyring {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ring
}

// use is for server.Config.
func (k *keyWatch) use() (map[hashing.KeyID]uint64, time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.counted, k.at
}

// measures are the metrics of keys.
func (k *keyWatch) measures() []server.Measure {
	return []server.Measure{{
		Name: "ringfence_key_subjects", Help: "Subjects under each key of the keyring, of all domains, as they were last counted; only after a rotation.",
		Label: "key", ReadEach: func() map[string]float64 {
			use, _ := k.use()
			each, ring := map[string]float64{}, k.keyring()
			if use == nil {
				return each
			}
			for _, key := range ring.Keys() {
				if key.State != hashing.Destroyed {
					each[strconv.Itoa(key.ID)] = float64(subjectsOf(ring, use, key.ID))
				}
			}
			return each
		},
	}}
}

// errTyped is a sealed keyring whose passphrase nobody can be asked for.
var errTyped = errors.New("the passphrase of its keyring was typed, and is not kept")

// rekey has a server go on with the keyring as its file is by now.
func (k *keyWatch) rekey(ctx context.Context, s *server.Server) error {
	k.rekeying.Lock()
	defer k.rekeying.Unlock()
	ring, err := hashing.OpenKeyring(k.flags.keyringPath(), func(file []byte) ([]byte, error) {
		if k.flags.passphrase().path() == "" {
			return nil, errTyped
		}
		return k.flags.unwrap(file)
	})
	if err != nil {
		return err
	}
	spaces := map[string]server.Space{}
	for _, d := range ring.Domains() {
		hasher, err := ring.Domain(d.Name)
		if err != nil {
			return err
		}
		spaces[d.Name] = server.Space{Hasher: hasher, Keys: d.Keys}
	}
	if err := k.store.Rekey(ctx, ring.KeyChecks()); err != nil {
		if errors.Is(err, engine.ErrWrongKeyring) {
			err = fmt.Errorf("do not stop this server before its keyring file is mended: it knows a key that the file lacks, and nobody else may: %w", err)
		}
		return err
	}
	if err := s.Rekey(spaces); err != nil {
		return err
	}
	k.mu.Lock()
	k.ring = ring
	k.mu.Unlock()
	select {
	case k.kick <- struct{}{}:
	default: // it is about to count anyway
	}
	k.log.Info("went on with the keyring as it is by now", "keys", len(ring.Keys()))
	return nil
}
