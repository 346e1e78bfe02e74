package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api/access"
	"github.com/ringfence/ringfence/hashing"
)

// callersPath is the file of the keys for callers.
func (f *dataFlags) callersPath() string {
	if f.callers != "" {
		return f.callers
	}
	return filepath.Join(f.data, "apikeys.json")
}

func (f *dataFlags) addCallers(cmd *cobra.Command) {
	textSetting(cmd.Flags(), &f.callers, "apikeys")
}

func newAPIKeys() *cobra.Command {
	keys := &cobra.Command{
		Use: "apikeys", Short: "keys for callers: who may ask what, and how much",
		Long: "The keys lie in one file, apikeys.json in the data folder by default, as SHA-256 of their secrets. A running server notices a new, changed or revoked key\n" +
			"at its next request. To replace a key, make a second one, give it to its caller, and revoke the first.",
	}
	keys.AddCommand(newAPIKeysCreate(), newAPIKeysLs(), newAPIKeysRevoke())
	return keys
}

func newAPIKeysCreate() *cobra.Command {
	var f dataFlags
	var scopes []string
	var rate string
	var k access.Key
	cmd := &cobra.Command{
		Use: "create", Short: "make a key and print it, once", Args: cobra.NoArgs,
		Long: "Prints the key on standard output. It cannot be shown again: what is kept of it is a hash.\n\n" +
			"Scopes, none of which includes another:\n" +
			"  assess   count events and get decisions\n  outcome  say what became of them; unlink and release\n" +
			"  read     see why: scores, reasons, signals, profiles\n  tune     lists and policies\n  admin    erasure\n\n" +
			"A line of a batch counts as a request. --daily-subjects bounds how many different numbers the key may ask about in a UTC day.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, s := range scopes {
				k.Scopes = append(k.Scopes, access.Scope(s))
			}
			var err error
			if k.Rate, err = access.ParseRate(rate); err != nil {
				return termsUsage(err)
			}
			return f.createKey(k, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.add(cmd)
	f.addCallers(cmd)
	fl := cmd.Flags()
	fl.StringSliceVar(&scopes, "scope", nil, "what the key may do: assess, outcome, read, tune, admin; several with commas")
	fl.StringVar(&k.Domain, "domain", hashing.DefaultDomain, "domain of the keyring that the key belongs to")
	fl.StringVar(&rate, "rate", "50/s", "requests a second, minute or hour, such as 50/s or 1000/m")
	fl.IntVar(&k.DailySubjects, "daily-subjects", 10_000, "different numbers a UTC day")
	fl.StringVar(&k.OnError, "on-error", "", "what an assessment answers this key when the store cannot be asked: allow or challenge (default: what serve --on-error says)")
	return cmd
}

// termsUsage turns terms that no key can have into a wrong command line.
func termsUsage(err error) error {
	var bad *access.TermsError
	if errors.As(err, &bad) {
		return usage("--" + strings.ReplaceAll(bad.Field, "_", "-") + ": " + bad.Cause + "; " + bad.Hint)
	}
	return err
}

func (f *dataFlags) createKey(terms access.Key, out, words io.Writer) error {
	k, secret, err := access.New(terms, rand.Reader, time.Now())
	if err != nil {
		return termsUsage(err)
	}
	ring, err := f.loadKeyring()
	if err != nil {
		return err
	}
	if _, err := ring.Domain(k.Domain); err != nil {
		return err
	}
	log, err := f.auditLog(ring)
	if err != nil {
		return err
	}
	if err := access.Add(f.callersPath(), k); err != nil {
		return err
	}
	if err := log.Append(byHand("apikeys.create", k.ID, "no key", describe(&k))); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, secret.Reveal()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(words, "ringfence: key %s: %s; it cannot be shown again\n", k.ID, describe(&k))
	return err
}

// describe says in words what a key may do.
func describe(k *access.Key) string {
	var scopes []string
	for _, s := range k.Scopes {
		scopes = append(scopes, string(s))
	}
	text := fmt.Sprintf("%s in domain %s, %s, %d numbers a day", strings.Join(scopes, " "), k.Domain, k.Rate, k.DailySubjects)
	if k.OnError != "" {
		text += ", on error " + k.OnError
	}
	return text
}

func newAPIKeysLs() *cobra.Command {
	var f dataFlags
	form := output("table")
	cmd := &cobra.Command{
		Use: "ls", Short: "list the keys, never their secrets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := access.Load(f.callersPath())
			if errors.Is(err, os.ErrNotExist) {
				_, err = fmt.Fprintln(cmd.ErrOrStderr(), "ringfence: there are no keys: whoever reaches the server may ask anything")
				return err
			}
			if err != nil {
				return err
			}
			return printKeys(cmd.OutOrStdout(), form, keys)
		},
	}
	f.add(cmd)
	f.addCallers(cmd)
	cmd.Flags().VarP(&form, "output", "o", "table, json or ndjson")
	return cmd
}

func printKeys(w io.Writer, form output, keys []access.Key) error {
	for i := range keys {
		keys[i].Hash = nil // nobody's business
	}
	switch form {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(keys)
	case "ndjson":
		for _, k := range keys {
			if err := json.NewEncoder(w).Encode(k); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, k := range keys {
		state := "live"
		if !k.Live() {
			state = "revoked " + k.Revoked.Format(time.DateOnly)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", k.ID, state, k.Created.Format(time.DateOnly), describe(&k))
	}
	return t.Flush()
}

func newAPIKeysRevoke() *cobra.Command {
	var f dataFlags
	cmd := &cobra.Command{
		Use: "revoke ID", Short: "let a key in no more, from the next request on", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, err := f.loadKeyring()
			if err != nil {
				return err
			}
			log, err := f.auditLog(ring)
			if err != nil {
				return err
			}
			if err := access.Revoke(f.callersPath(), args[0], time.Now()); err != nil {
				return err
			}
			if err := log.Append(byHand("apikeys.revoke", args[0], "live", "revoked")); err != nil { // an id of ours, or it would not be there
				return err
			}
			_, err = fmt.Fprintln(cmd.ErrOrStderr(), "ringfence: the key is revoked")
			return err
		},
	}
	f.add(cmd)
	f.addCallers(cmd)
	return cmd
}
