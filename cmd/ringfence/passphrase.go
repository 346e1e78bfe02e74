package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ringfence/ringfence/hashing"
)

// The names under which systemd hands passphrases to a unit (LoadCredential).
const (
	credential    = "ringfence-passphrase"
	newCredential = "ringfence-new-passphrase" //nolint:gosec // a name, not a secret
)

const maxPassphrase = 4 << 10

// passphrase says where the passphrase of a keyring comes from: a file, a systemd
// credential, or whoever sits at the terminal. Never the environment or the
// command line, where other programs see it.
type passphrase struct {
	file       string // flag; "" for none
	credential string // name of a credential that is used if it is there
	prompt     string
	fromFile   string // flag that names a file, for hints
	cmd        *cobra.Command
}

// path returns the file or the credential, "" when there is neither.
func (p *passphrase) path() string {
	if p.file != "" {
		return p.file
	}
	dir := os.Getenv("CREDENTIALS_DIRECTORY") // a path: systemd sets it
	if dir == "" {
		return ""
	}
	path := filepath.Join(dir, p.credential)
	if _, err := os.Stat(path); err != nil { //nolint:gosec // the operator names the file
		return ""
	}
	return path
}

// read returns the passphrase. One for a new file is asked for twice.
func (p *passphrase) read(twice bool) ([]byte, error) {
	if path := p.path(); path != "" {
		return p.readFile(path)
	}
	in := terminalOf(p.cmd.InOrStdin())
	if in == nil {
		return nil, &hashing.KeyringError{Cause: "its passphrase is needed, and there is no terminal to ask for it",
			Hint: "name a file with " + p.fromFile + ", or pass the systemd credential " + p.credential}
	}
	text, err := p.ask(in, p.prompt)
	if err != nil || !twice {
		return text, err
	}
	again, err := p.ask(in, "once more")
	if err == nil && !bytes.Equal(text, again) {
		err = errors.New("the two passphrases differ; begin again")
	}
	return text, err
}

func (p *passphrase) readFile(path string) (text []byte, err error) {
	if path == p.file {
		text, err = hashing.ReadSecret(path, maxPassphrase)
	} else {
		text, err = readBounded(path, maxPassphrase) // systemd guards it by means of its own, which may show as group bits
	}
	if errors.Is(err, hashing.ErrKeyring) {
		var bad *hashing.KeyringError
		errors.As(err, &bad)
		return nil, fmt.Errorf("passphrase file %s: %s; %s", path, bad.Cause, bad.Hint)
	}
	if err != nil {
		return nil, fmt.Errorf("passphrase file: %w", err)
	}
	return bytes.TrimRight(text, "\r\n"), nil
}

func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // systemd names the folder
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, most))
}

// terminalOf returns the terminal that an input is, nil for any other.
func terminalOf(in io.Reader) *os.File {
	if i, ok := in.(*interruptible); ok {
		in = i.from
	}
	if file, ok := in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return file
	}
	return nil
}

// ask shows nothing of what is typed, and leaves the terminal as it was, also when it is interrupted.
func (p *passphrase) ask(in *os.File, prompt string) ([]byte, error) {
	w := p.cmd.ErrOrStderr()
	_, _ = fmt.Fprintf(w, "%s: ", prompt)
	defer func() { _, _ = fmt.Fprintln(w) }()
	was, err := term.GetState(int(in.Fd()))
	if err != nil {
		return nil, err
	}
	type typed struct {
		text []byte
		err  error
	}
	done := make(chan typed, 1)
	go func() {
		text, err := term.ReadPassword(int(in.Fd()))
		done <- typed{text, err}
	}()
	select {
	case t := <-done:
		return t.text, t.err
	case <-p.cmd.Context().Done():
		return nil, errors.Join(p.cmd.Context().Err(), term.Restore(int(in.Fd()), was))
	}
}

// passphrase returns where the keyring's passphrase comes from.
func (f *dataFlags) passphrase() *passphrase {
	return &passphrase{file: f.passphraseFile, credential: credential, prompt: "passphrase of the keyring", fromFile: "--passphrase-file", cmd: f.cmd}
}

// unwrap opens a sealed keyring, and notes that it was one.
func (f *dataFlags) unwrap(file []byte) ([]byte, error) {
	f.sealed = true
	return hashing.Unseal(func() ([]byte, error) { return f.passphrase().read(false) })(file)
}

// wrap seals a keyring under a passphrase that is new.
func wrap(p *passphrase) (hashing.Wrap, error) {
	text, err := p.read(true)
	if err != nil {
		return nil, err
	}
	return hashing.Seal(text, rand.Reader), nil
}

const plainKeyring = "the keyring is not sealed: whoever copies its file and the data can find every number; seal it with: ringfence keys reseal"

var sealedWords = map[bool]string{true: "sealed", false: "not sealed"}

func newReseal() *cobra.Command {
	var f dataFlags
	var to passphrase
	var plain bool
	cmd := &cobra.Command{
		Use: "reseal", Short: "seal the keyring, or seal it under another passphrase", Args: cobra.NoArgs,
		Long: "Writes the same keys over the keyring file. Copies of the old file still open with the old passphrase, and the old bytes stay on\n" +
			"the disk for a while: after a passphrase has leaked, rotate the keys as well. A running server does not notice.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			to.cmd = cmd
			words := sealedWords[false]
			ring, err := f.replaceKeyring(f.unwrap, func(ring *hashing.Keyring) (*hashing.Keyring, hashing.Wrap, error) {
				if plain {
					return ring, nil, nil
				}
				words = "sealed under another passphrase"
				w, err := wrap(&to)
				return ring, w, err
			})
			if err != nil {
				return err
			}
			if err := f.noteDown(ring, "keys.reseal", sealedWords[f.sealed], words); err != nil {
				return err
			}
			text := map[bool]string{true: "warning: " + plainKeyring, false: "the keyring is sealed; without its passphrase nothing can be read"}[plain]
			_, err = fmt.Fprintln(cmd.ErrOrStderr(), "ringfence: "+text)
			return err
		},
	}
	f.add(cmd)
	to.credential, to.prompt, to.fromFile = newCredential, "new passphrase", "--new-passphrase-file"
	cmd.Flags().StringVar(&to.file, "new-passphrase-file", "", "file with the new passphrase (default: the systemd credential "+newCredential+", or the terminal)")
	cmd.Flags().BoolVar(&plain, "plain", false, "take the seal off instead")
	return cmd
}
