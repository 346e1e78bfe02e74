package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
)

func newDoctor() *cobra.Command {
	var f dataFlags
	var policy, server string
	form := output("table")
	cmd := &cobra.Command{
		Use: "doctor", Short: "say what is wrong with an installation, and what to do", Args: cobra.NoArgs,
		Long: "Looks at the keyring, the data folder, the policy and the server, changes no data, and exits 3 when something is wrong.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := new(doctor)
			d.check("keyring", f.checkKeyring())
			served := d.checkServer(cmd.Context(), server)
			d.check("store", f.checkStore(served))
			_, err := readPolicy(policy)
			d.check("policy", err)
			if err := d.print(cmd.OutOrStdout(), form); err != nil {
				return err
			}
			if slices.ContainsFunc(d.found, func(f finding) bool { return f.State == "wrong" }) {
				return errNotMet
			}
			return nil
		},
	}
	f.add(cmd)
	textSetting(cmd.Flags(), &policy, "policy")
	textSetting(cmd.Flags(), &server, "server")
	cmd.Flags().VarP(&form, "output", "o", "table, json or ndjson")
	return cmd
}

// doctor keeps what it finds.
type doctor struct{ found []finding }

// finding is what was found about one thing.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"` // ok, wrong, or - for what there is not
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

func (d *doctor) check(what string, err error) {
	f := finding{Check: what, State: "ok"}
	if err != nil {
		f.State, f.Detail = "wrong", err.Error()
		_, f.Hint = hintFor(err)
	}
	d.found = append(d.found, f)
}

func (d *doctor) print(w io.Writer, form output) error {
	if form == "json" {
		return printAs(form, w, d.found, nil)
	}
	for _, f := range d.found {
		line := fmt.Sprintf("%-6s %s", f.State, f.Check)
		if f.Detail != "" {
			line += ": " + f.Detail
		}
		if f.Hint != "" {
			line += "\n       hint: " + f.Hint
		}
		err := error(nil)
		if form == "ndjson" {
			err = printAs(form, w, f, nil)
		} else {
			_, err = fmt.Fprintln(w, line)
		}
		if err != nil {
			return err
		}
	}
	return nil
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
	d.found = append(d.found, finding{Check: "server", State: "-", Detail: "none answers at this address"})
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
