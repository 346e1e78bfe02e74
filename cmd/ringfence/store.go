package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
)

func newStore() *cobra.Command {
	store := &cobra.Command{Use: "store", Short: "look after a data folder"}
	store.AddCommand(newStoreBackup(), newStoreRestore(), newStoreVerify(), newStoreStats(), newStoreCompact(), newStorePurge(), newStoreUpgrade())
	return store
}

// besides is what the help of every command says that a running server can be asked to do.
const besides = "Works while a server has the folder open: it is asked through the socket in the folder."

// newJob returns a command that does a job and prints what comes back.
func newJob(use, short, long string, args cobra.PositionalArgs, read func(j *job, args []string) error, done string) *cobra.Command {
	var f dataFlags
	var j job
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long + "\n" + besides, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := read(&j, args); err != nil {
				return err
			}
			answer, err := f.do(cmd.Context(), j)
			if answer != nil {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				err = errors.Join(err, e.Encode(answer))
			}
			if err == nil && done != "" {
				_, err = fmt.Fprintln(cmd.ErrOrStderr(), "ringfence:", done)
			}
			return err
		},
	}
	f.add(cmd)
	return cmd
}

func newStoreBackup() *cobra.Command {
	return newJob("backup FOLDER", "write a backup to a new folder",
		"The backup is a data folder without a keyring: it opens with --data FOLDER and the --keyring of the original. Keep the two\n"+
			"apart. On the same disk the files are shared with the original and take no space at first: copy the\nfolder elsewhere to survive the disk. "+
			"store/SHA256SUMS lists what is in it, until it is opened: sha256sum -c SHA256SUMS checks a copy.",
		cobra.ExactArgs(1), func(j *job, args []string) (err error) {
			j.Do = "backup"
			j.Folder, err = filepath.Abs(args[0])
			return err
		}, "the backup is complete")
}

func newStoreVerify() *cobra.Command {
	return newJob("verify", "read everything and say whether it is whole",
		"Reads the checksum of every block, every record, event, list entry, idempotency key and policy, and holds them against each other.\n"+
			"Exits 5 when something is wrong.", cobra.NoArgs, func(j *job, _ []string) error { j.Do = "verify"; return nil }, "")
}

func newStoreStats() *cobra.Command {
	return newJob("stats", "say what a data folder holds", "Counts by reading all keys: about a second for a few million.",
		cobra.NoArgs, func(j *job, _ []string) error { j.Do = "stats"; return nil }, "")
}

func newStoreCompact() *cobra.Command {
	var hard bool
	cmd := newJob("compact", "give back the space of what was deleted", compactHelp, cobra.NoArgs, func(j *job, _ []string) error {
		if j.Do = "compact"; hard {
			j.Do = "rewrite"
		}
		return nil
	}, "the store is compact")
	cmd.Flags().BoolVar(&hard, "hard", false, "leave no byte of what was erased in the data folder; stop the server first")
	return cmd
}

const compactHelp = `Happens by itself over time. Takes minutes, and space of its own meanwhile.

--hard writes the whole store anew, tables, logs and manifests, so that the data folder holds no byte of what was erased, deleted or
replaced. Stop the server first. It takes about as much room as the store has, for a while; it may be stopped and begun again. Backups that were
made before, and what the disk itself keeps of deleted files, are not in its reach. Without --hard:`

func newStorePurge() *cobra.Command {
	var before string
	cmd := newJob("purge", "take old events out of the log",
		"Timelines, outcomes and backtests know them no more; what was counted stays. This cannot be undone.",
		cobra.NoArgs, func(j *job, _ []string) error {
			at, err := time.Parse(time.RFC3339, before)
			if err != nil {
				return usage("--before takes a time such as 2027-01-02T03:04:05Z")
			}
			j.Do, j.Before = "purge", at.Unix()
			return nil
		}, "")
	cmd.Flags().StringVar(&before, "before", "", "events recorded before this time, such as 2027-01-02T03:04:05Z; required")
	return cmd
}

func newStoreRestore() *cobra.Command {
	var f dataFlags
	cmd := &cobra.Command{
		Use: "restore BACKUP", Short: "make a data folder from a backup", Args: cobra.ExactArgs(1),
		Long: "Copies the backup into --data, which must have no store yet, verifies the copy, and only then gives it its name.\n" +
			"The backup stays as it is. Needs the keyring of the original.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.restore(cmd, args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.ErrOrStderr(), "ringfence: the folder is restored and whole")
			return err
		},
	}
	f.add(cmd)
	return cmd
}

// errHasStore is a place that is taken.
var errHasStore = errors.New("the data folder has a store already")

func (f *dataFlags) restore(cmd *cobra.Command, backup string) error {
	ring, err := f.loadKeyring()
	if err != nil {
		return err
	}
	folder := filepath.Join(f.data, "store")
	if _, err := os.Stat(folder); err == nil {
		return errHasStore
	}
	partial := folder + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := copyFolder(partial, filepath.Join(backup, "store")); err != nil {
		return errors.Join(err, os.RemoveAll(partial))
	}
	if err := verifyFolder(cmd, partial, ring); err != nil {
		return errors.Join(err, os.RemoveAll(partial))
	}
	if err := os.Rename(partial, folder); err != nil {
		return err
	}
	return syncFolder(f.data)
}

func verifyFolder(cmd *cobra.Command, folder string, ring *hashing.Keyring) error {
	s, err := pebblestore.Open(folder, pebblestore.Options{
		Keys: ring.KeyChecks(), Log: slog.New(slog.DiscardHandler), Fatal: die, Damaged: func(error) {}, Vouched: true,
	})
	if err != nil {
		return err
	}
	_, err = s.Verify(cmd.Context())
	return errors.Join(err, s.Close())
}

// copyFolder copies files, not folders, and returns when the copies are on the disk.
func copyFolder(to, from string) error {
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for _, file := range files {
		if file.Type().IsRegular() {
			if err := copyFile(filepath.Join(to, file.Name()), filepath.Join(from, file.Name())); err != nil {
				return err
			}
		}
	}
	return syncFolder(to)
}

func copyFile(to, from string) (err error) {
	in, err := os.Open(from) //nolint:gosec // the operator names the folder
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()                                     // was only read
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names the folder
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

func syncFolder(path string) error {
	d, err := os.Open(path) //nolint:gosec // the operator names the folder
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func newStoreUpgrade() *cobra.Command {
	f := dataFlags{upgrade: true}
	cmd := &cobra.Command{
		Use: "upgrade", Short: "bring a data folder of an older version to the present format", Args: cobra.NoArgs,
		Long: "Stop the server and copy the folder first: afterwards, older versions cannot open it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, _, err := f.open(false, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			if from := s.UpgradedFrom(); from != 0 {
				err = f.noteDown(f.ring, "store.upgrade", fmt.Sprintf("format %d", from), "the present format")
			}
			if err := errors.Join(err, s.Close()); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.ErrOrStderr(), "ringfence: the data folder has the present format")
			return err
		},
	}
	f.add(cmd)
	return cmd
}
