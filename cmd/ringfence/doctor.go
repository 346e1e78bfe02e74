package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
)

func newDoctor() *cobra.Command {
	var f dataFlags
	var policy, server string
	cmd := &cobra.Command{
		Use: "doctor", Short: "say what is wrong with an installation, and what to do", Args: cobra.NoArgs,
		Long: "Looks at the keyring, the data folder, the policy and the server, changes no data, and exits 3 when something is wrong.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &doctor{w: cmd.OutOrStdout()}
			d.check("keyring", f.checkKeyring())
			served := d.checkServer(cmd.Context(), server)
			d.check("store", f.checkStore(served))
			_, err := readPolicy(policy)
			d.check("policy", err)
			if d.wrong {
				return errNotMet
			}
			return nil
		},
	}
	f.add(cmd)
	textSetting(cmd.Flags(), &policy, "policy")
	textSetting(cmd.Flags(), &server, "server")
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
