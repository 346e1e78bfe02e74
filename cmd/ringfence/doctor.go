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
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
)

func newDoctor() *cobra.Command {
	var f dataFlags
	var policy, server string
	var deep bool
	form := output("table")
	cmd := &cobra.Command{
		Use: "doctor", Short: "say what is wrong with an installation, and what to do", Args: cobra.NoArgs,
		Long: "Looks at the keyring, the data folder, its disk, the policy and the server, and exits 3 when something is wrong. It changes\n" +
			"no data. That the store opens says little of what it holds: --deep reads all of it, as ringfence store verify does.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := new(doctor)
			d.check("keyring", f.checkKeyring())
			if f.ring != nil && !f.sealed {
				d.add(finding{Check: "seal", State: "-", Detail: plainKeyring})
			}
			f.fatal = func(err error) { d.die(err, cmd.OutOrStdout(), form) }
			d.checkServer(cmd.Context(), server)
			d.check("folder", f.checkFolder())
			d.check("disk", f.checkDisk())
			d.checkStore(cmd.Context(), &f, deep)
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
	sizeSetting(cmd.Flags(), &f.reserve, "disk_reserve")
	cmd.Flags().BoolVar(&deep, "deep", false, "read everything in the store; works while a server has it open, too")
	textSetting(cmd.Flags(), &policy, "policy")
	textSetting(cmd.Flags(), &server, "server")
	cmd.Flags().VarP(&form, "output", "o", "table, json or ndjson")
	return cmd
}

// doctor keeps what it finds.
type doctor struct {
	mu    sync.Mutex
	found []finding // guarded by mu
	dying sync.Once
}

// finding is what was found about one thing.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"` // ok, wrong, or - for what there is not
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
	Report any    `json:"report,omitempty"` // what verify found, in full
}

// die ends the process for a store that cannot go on, and says all that was found until then.
func (d *doctor) die(err error, w io.Writer, form output) {
	d.dying.Do(func() { // whoever comes second waits here for the end
		d.check("store: it opens", fmt.Errorf("it cannot go on: %w", err))
		_ = d.print(w, form)
		os.Exit(exitNotMet)
	})
}

func (d *doctor) add(f finding) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.found = append(d.found, f)
}

func (d *doctor) check(what string, err error) { d.checkAll(what, err, nil) }

// checkAll is check with a report, which is told if something is wrong.
func (d *doctor) checkAll(what string, err error, report any) {
	f := finding{Check: what, State: "ok"}
	if err != nil {
		f.State, f.Detail, f.Report = "wrong", err.Error(), report
		_, f.Hint = hintFor(err)
	}
	d.add(f)
}

func (d *doctor) print(w io.Writer, form output) error {
	d.mu.Lock()
	defer d.mu.Unlock()
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
		if f.Report != nil {
			report, err := json.MarshalIndent(f.Report, "       ", "  ")
			if err != nil {
				return err
			}
			line += "\n       " + string(report)
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

// checkStore says that the store opens, or with deep that all of it is whole.
func (d *doctor) checkStore(ctx context.Context, f *dataFlags, deep bool) {
	if !deep {
		d.check("store: it opens", f.checkStore(ctx, d))
		return
	}
	answer, err := f.do(ctx, job{Do: "verify"})
	d.checkAll("store: all of it is whole", err, answer)
}

// checkServer asks a server how it is. That none answers is not wrong.
func (d *doctor) checkServer(ctx context.Context, address string) {
	err := (&api.Client{BaseURL: address}).Ready(ctx)
	var answered *api.Error
	switch {
	case err == nil:
		d.check("server", nil)
	case errors.As(err, &answered):
		d.check("server", fmt.Errorf("it answers, but is not ready: %w", err))
	default:
		d.add(finding{Check: "server", State: "-", Detail: "none answers at this address, or not to this command", Hint: "name its address with --server"})
	}
}

func (f *dataFlags) checkKeyring() error {
	path := f.keyringPath()
	if err := f.missing(); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("others than its owner may open it (mode %04o): %w", mode, errOpenKeyring)
	}
	f.ring, err = f.loadKeyring()
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

// checkStore opens and closes the store, and says how full its log is and whether its clock is right. One that a server has open is in
// order; the server's metrics say the rest.
func (f *dataFlags) checkStore(ctx context.Context, d *doctor) error {
	store, _, err := f.open(false, slog.New(slog.DiscardHandler))
	if errors.Is(err, engine.ErrLocked) && adminListens(ctx, f.data) {
		return nil
	}
	if err != nil {
		return err
	}
	log, err := store.LookAtLog(ctx)
	if err == nil {
		keep := store.Retention()
		held := fmt.Sprintf("%d MiB of at most %d MiB", log.Bytes>>20, keep.LogBytes>>20)
		if !log.Oldest.IsZero() {
			held += ", from " + log.Oldest.UTC().Format(time.DateOnly)
		}
		d.add(finding{Check: "log", State: "ok", Detail: held})
	}
	if behind := store.ClockBehind(); behind > clockTolerated {
		d.add(finding{
			Check: "clock", State: "-", Detail: fmt.Sprintf("it is %v ahead of the store's, which follows at twice the speed of time", behind.Round(time.Hour)),
			Hint: "set it right if it is wrong; after a long stop nothing is, and what expires does so late for a while",
		})
	}
	return errors.Join(err, store.Close())
}

// clockTolerated is by how much the machine's clock may be ahead of the store's without a word: by more it is after a stop of days.
const clockTolerated = 48 * time.Hour
