package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/hashing"
)

const domainsHelp = `A domain is one tenant and one purpose. Each has pseudonyms, counts, lists, policies and a log of its own: what two domains
hold of the same number has nothing in common, and cannot be joined without the keyring. The key of a caller belongs to one domain (apikeys create --domain), and is answered in it; where nobody
needs a key, everybody is in the domain "default". The policy that serve is given is for the domain "default", and for those that have none yet.`

func newDomains() *cobra.Command {
	domains := &cobra.Command{Use: "domains", Short: "list and add domains", Long: domainsHelp}
	var listed, added dataFlags
	list := &cobra.Command{
		Use: "ls", Short: "list the domains and the ids of their keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := listed.loadKeyring()
			if err != nil {
				return err
			}
			for _, d := range ring.Domains() {
				var keys []string
				for _, k := range d.Keys {
					keys = append(keys, fmt.Sprintf("k%d=%d/%s", k.ID, k.Key, k.State))
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%d\t%s\t%s\n", d.ID, d.Name, strings.Join(keys, " ")); err != nil {
					return err
				}
			}
			return nil
		},
	}
	add := &cobra.Command{
		Use: "add NAME", Short: "add a domain to the keyring", Args: cobra.ExactArgs(1),
		Long: "Writes the keyring file anew. A name has up to 32 lower-case letters, digits and hyphens, and begins with a letter.",
		RunE: func(cmd *cobra.Command, args []string) error {
			err := added.changeKeyring("keys.domains.add", "", "a domain more", func(ring *hashing.Keyring) (*hashing.Keyring, error) { return ring.WithDomain(args[0]) })
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.ErrOrStderr(), "ringfence: added the domain; back the keyring up again; a server knows the domain once it is started anew")
			return err
		},
	}
	listed.add(list)
	added.add(add)
	domains.AddCommand(list, add)
	return domains
}

// changeKeyring writes the keyring file anew, under the passphrase that it was sealed with. did and the words are for the audit.
func (f *dataFlags) changeKeyring(did, before, after string, change func(*hashing.Keyring) (*hashing.Keyring, error)) error {
	var text []byte
	defer func() { clear(text) }()
	ring, err := f.replaceKeyring(hashing.Unseal(func() (typed []byte, err error) {
		typed, err = f.passphrase().read(false)
		text = bytes.Clone(typed)
		return typed, err
	}), func(ring *hashing.Keyring) (*hashing.Keyring, hashing.Wrap, error) {
		next, err := change(ring)
		if err != nil || text == nil {
			return next, nil, err
		}
		return next, hashing.Seal(text, rand.Reader), nil
	})
	if err != nil {
		return err
	}
	return f.noteDown(ring, did, before, after)
}

// replaceKeyring is hashing.ChangeFile for the keyring that the flags name. Its errors name the file.
func (f *dataFlags) replaceKeyring(unwrap hashing.Unwrap, change func(*hashing.Keyring) (*hashing.Keyring, hashing.Wrap, error)) (*hashing.Keyring, error) {
	if err := f.missing(); err != nil {
		return nil, err
	}
	ring, err := hashing.ChangeFile(f.keyringPath(), unwrap, change)
	if errors.Is(err, hashing.ErrKeyring) {
		err = fmt.Errorf("%s: %w", f.keyringPath(), err)
	}
	return ring, err
}
