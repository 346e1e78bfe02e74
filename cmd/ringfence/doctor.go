package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
)

func newDoctor() *cobra.Command {
	var f dataFlags
	var policy, server string
	var deep bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "say what is wrong with an installation, and what to do", Args: cobra.NoArgs,
		Long: "Looks at the keyring, the data folder, its disk, the policy and the server, and exits 3 when something is wrong. It changes\n" +
			"no data. That the store opens says little of what it holds: --deep reads all of it, as ringfence store verify does.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &doctor{w: cmd.OutOrStdout()}
			d.check("keyring", f.checkKeyring())
			if !f.sealed {
				_, _ = fmt.Fprintf(d.w, "-      %s\n", plainKeyring)
			}
			served := d.checkServer(cmd.Context(), server)
			d.check("folder", f.checkFolder())
			d.check("disk", f.checkDisk())
			d.checkStore(cmd.Context(), &f, served, deep)
			_, err := readPolicy(policy)
			d.check("policy", err)
			if d.wrong {
				return errNotMet
			}
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().Int64Var(&f.reserve, "disk-reserve", pebblestore.DefaultReserve, "free bytes on the disk below which something is wrong")
	cmd.Flags().StringVar(&policy, "policy", "", "policy file to look at (default: the embedded policy)")
	cmd.Flags().BoolVar(&deep, "deep", false, "read everything in the store; works while a server has it open, too")
	cmd.Flags().StringVar(&server, "server", "http://127.0.0.1:8080", "address of the server")
	return cmd
}

// doctor prints what it finds.
type doctor struct {
	w     io.Writer
	wrong bool
}

func (d *doctor) check(what string, err error) {
	if err == nil {
		_, _ = fmt.Fprintf(d.w, "ok     %s\n", what)
		return
	}
	d.wrong = true
	_, _ = fmt.Fprintf(d.w, "wrong  %s: %v\n", what, err)
	if _, hint := hintFor(err); hint != "" {
		_, _ = fmt.Fprintf(d.w, "       hint: %s\n", hint)
	}
}

// checkStore says that the store opens, or with deep that all of it is whole.
func (d *doctor) checkStore(ctx context.Context, f *dataFlags, served, deep bool) {
	if !deep {
		d.check("store: it opens", f.checkStore(served))
		return
	}
	answer, err := f.do(ctx, job{Do: "verify"})
	d.check("store: all of it is whole", err)
	if err != nil && answer != nil {
		e := json.NewEncoder(d.w)
		e.SetIndent("       ", "  ")
		_ = e.Encode(answer) // to standard output, whose errors nobody can be told
	}
}

// checkServer reports whether a server answers. That none does is not wrong.
func (d *doctor) checkServer(ctx context.Context, address string) bool {
	err := (&api.Client{BaseURL: address}).Ready(ctx)
	var answered *api.Error
	switch {
	case err == nil:
		d.check("server", nil)
		return true
	case errors.As(err, &answered):
		d.check("server", fmt.Errorf("it answers, but is not ready: %w", err))
		return true
	}
	_, _ = fmt.Fprintln(d.w, "-      server: none answers at this address")
	return false
}

func (f *dataFlags) checkKeyring() error {
	path := f.keyringPath()
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("others than its owner may open it (mode %04o): %w", mode, errOpenKeyring)
	}
	_, err = f.loadKeyring()
	return err
}

// errWideFolder is a data folder that others than its owner may change, or whose store they may read.
var errWideFolder = errors.New("folder mode is too wide")

// checkFolder looks at who may enter the data folder and its store. Folders that are not there are for others to miss.
func (f *dataFlags) checkFolder() error {
	for _, folder := range []struct {
		path string
		wide fs.FileMode
	}{{f.data, 0o022}, {filepath.Join(f.data, "store"), 0o077}} {
		info, err := os.Stat(folder.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if mode := info.Mode().Perm(); mode&folder.wide != 0 {
			return fmt.Errorf("%s has mode %04o: %w", folder.path, mode, errWideFolder)
		}
	}
	return nil
}

// checkDisk looks at the free space on the disk of the data folder.
func (f *dataFlags) checkDisk() error {
	free, err := pebblestore.FreeBytes(f.data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && free < uint64(max(f.reserve, 0)) {
		return fmt.Errorf("%d MiB are free, and below %d MiB a server counts nothing: %w", free>>20, f.reserve>>20, engine.ErrFull)
	}
	return err
}

// errOpenKeyring is a keyring that more people can read than should.
var errOpenKeyring = errors.New("file mode is too wide")

// checkStore opens and closes the store. A store that is locked while a server answers is in order.
func (f *dataFlags) checkStore(served bool) error {
	store, _, err := f.open(false, slog.New(slog.DiscardHandler))
	if err != nil {
		if served && errors.Is(err, engine.ErrLocked) {
			return nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot be opened without its keyring: %w", err)
		}
		return err
	}
	return store.Close()
}
