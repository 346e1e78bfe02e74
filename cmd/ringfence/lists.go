package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/engine/pebblestore"
	"github.com/ringfence/ringfence/hashing"
)

// importBatch is how many entries are committed together.
const importBatch = 1000

func newLists() *cobra.Command {
	lists := &cobra.Command{Use: "lists", Short: "put numbers on lists and take them off"}
	var f dataFlags
	var region string
	var strict bool
	load := &cobra.Command{
		Use:   "import NAME FILE",
		Short: "put the numbers of a file on a list; stop the server first",
		Long: "Reads one number a line, or a JSON object whose keys are numbers (the values are not used); .gz is unpacked, - is standard input.\n" +
			"Numbers are hashed as they are read. Refused ones are counted by cause and named by line, in an object by position, never shown.",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, size, err := openSized(args[1], cmd.InOrStdin())
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }()
			bar := newBar(cmd.ErrOrStderr(), "importing", size)
			defer func() { _ = bar.Clear() }()
			in, err := unpack(args[1], io.TeeReader(file, bar))
			if err != nil {
				return err
			}
			store, hasher, err := f.open(false, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			i := &listImport{store: store, hasher: hasher, added: time.Now().Unix(), list: args[0], region: region, stderr: cmd.ErrOrStderr(), refused: map[string]int{}}
			err = i.run(cmd.Context(), in)
			if i.put > 0 { // what came before an error stays
				err = errors.Join(err, f.noteDown(f.ring, "lists.import", "", fmt.Sprintf("on list %s: %d entries added or replaced, %d refused", i.list, i.put, i.read-i.put)))
			}
			err = errors.Join(err, store.Close())
			if err == nil && strict && len(i.refused) > 0 {
				err = errNotMet
			}
			return err
		},
	}
	f.add(load)
	f.addDomain(load)
	load.Flags().StringVar(&region, "region", "", "default region of numbers without a country code")
	load.Flags().BoolVar(&strict, "strict", false, "exit 3 when any number was refused")
	lists.AddCommand(load, newListsLs(), newListsRm())
	return lists
}

// listImport puts the numbers of one file on one list.
type listImport struct {
	store  *pebblestore.Store
	hasher *hashing.Hasher
	added  int64 // when entries are put there
	list   string
	region string
	stderr io.Writer

	batch   []engine.ListEntry
	line    int // of the file, 0 in an object
	read    int
	put     int
	refused map[string]int // by cause
}

func (i *listImport) run(ctx context.Context, in io.Reader) error {
	if !engine.CheckListName(i.list) {
		return usage("a list's name has up to 32 lower-case letters, digits and underscores, and at most four digits")
	}
	b := bufio.NewReader(in)
	read := i.lines
	if first, err := b.Peek(1); err == nil && first[0] == '{' {
		read = i.object
	}
	if err := errors.Join(read(ctx, b), i.flush(ctx)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(i.stderr, "ringfence: %d read, %d on list %s, %d refused\n", i.read, i.put, i.list, i.read-i.put)
	for _, cause := range slices.Sorted(maps.Keys(i.refused)) {
		_, _ = fmt.Fprintf(i.stderr, "  %6d %s\n", i.refused[cause], cause)
	}
	return err
}

func (i *listImport) lines(ctx context.Context, b *bufio.Reader) error {
	s := bufio.NewScanner(b)
	for s.Scan() {
		i.line++
		if line := strings.TrimSpace(s.Text()); line != "" {
			if err := i.add(ctx, line); err != nil {
				return err
			}
		}
	}
	if s.Err() != nil {
		return fmt.Errorf("behind line %d: a line that is too long", i.line)
	}
	return nil
}

func (i *listImport) object(ctx context.Context, b *bufio.Reader) error {
	d := json.NewDecoder(b)
	_, err := d.Token()
	for err == nil && d.More() {
		var key json.Token
		if key, err = d.Token(); err != nil {
			break
		}
		var value json.RawMessage
		if err = d.Decode(&value); err != nil {
			break
		}
		if err := i.add(ctx, key.(string)); err != nil { //nolint:forcetypeassert // a key is a string
			return err
		}
	}
	if err == nil {
		_, err = d.Token()
	}
	if err != nil {
		return fmt.Errorf("not JSON behind entry %d, byte %d", i.read, d.InputOffset()) // the decoder's own error quotes the input
	}
	return nil
}

func (i *listImport) add(ctx context.Context, raw string) error {
	i.read++
	region := i.region
	if region == "" && raw != "" && raw[0] != '+' {
		raw = "+" + raw // digits with a country code, as many lists have them
	}
	n, err := hashing.Parse(raw, region)
	if err != nil {
		i.refuse(err)
		return nil
	}
	if i.hasher.Rotated() {
		if err := i.migrate(ctx, n); err != nil {
			return err
		}
	}
	i.put++
	i.batch = append(i.batch, engine.ListEntry{List: i.list, Subject: i.hasher.Phone(n), Reason: "import", Added: i.added})
	if len(i.batch) < importBatch {
		return nil
	}
	return i.flush(ctx)
}

// migrate moves what older keys hold of a number to the primary one.
func (i *listImport) migrate(ctx context.Context, n hashing.Number) error {
	m := &engine.Migration{Domain: i.hasher.Domain(), Now: time.Now().Unix(), From: i.hasher.Older(n, "", "", netip.Addr{})}
	m.To.Subjects, m.To.Link = i.hasher.Subjects(n, "", "", netip.Addr{})
	return i.store.Migrate(ctx, m)
}

func (i *listImport) refuse(err error) {
	cause := hashing.Problem(err)
	i.refused[cause]++
	what, at := "line", i.line
	if at == 0 {
		what, at = "entry", i.read
	}
	_, _ = fmt.Fprintf(i.stderr, "ringfence: %s %d refused: %v\n", what, at, err)
}

func (i *listImport) flush(ctx context.Context) error {
	if len(i.batch) == 0 {
		return nil
	}
	err := i.store.PutEntries(ctx, i.hasher.Domain(), i.batch, nil)
	i.batch = i.batch[:0]
	return err
}
