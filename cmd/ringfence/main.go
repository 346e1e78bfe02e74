// Command ringfence scores phone numbers by what a platform has seen of them,
// without keeping the numbers.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/cmd/ringfence/replay"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/scoring"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotMet      = 3
	exitUnreachable = 4
	exitStore       = 5
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	os.Exit(code)
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(stdout)
	root.SetArgs(args)
	root.SetIn(&interruptible{ctx: ctx, from: stdin})
	root.SetErr(stderr)
	return report(root.ExecuteContext(ctx), stderr)
}

// newRoot returns the command that all others are below. Cobra's completion command keeps the output that it finds when it is made.
func newRoot(stdout io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use: "ringfence", Short: "score phone numbers for abuse without keeping them",
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return configure(cmd) },
	}
	root.SetOut(stdout)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, _ error) error {
		return usageOf(cmd, "a flag that this command does not have, or a value that the flag does not take")
	})
	root.PersistentFlags().String("config", "", "configuration file in YAML: see ringfence config show --help")
	root.AddCommand(newServe(), newAssess(), newOutcome(), newErase(), newLists(), newImport(), newKeys(), newPolicy(), newReplay(), newDemo(),
		newBacktest(), newTune(), newLabels(), newDoctor(), newStore(), newAPIKeys(), newAudit(), newConfig(), newDocs(), newOpenAPI(), newMan(), newVersion())
	root.InitDefaultCompletionCmd()
	root.SetHelpCommand(newHelp(root))
	quietArgs(root)
	completeFlags(root)
	return root
}

// usageError is a command line that makes no sense.
type usageError struct {
	error
	command string // whose help to read
}

func usage(text string) error { return &usageError{errors.New(text), "ringfence"} }

// usageOf is usage with a command that was found, whose help says more.
func usageOf(cmd *cobra.Command, text string) error {
	return &usageError{errors.New(text), cmd.CommandPath()}
}

// quietArgs makes a command and those below it refuse arguments in words of
// our own: cobra's repeat what was typed, which may be a number.
func quietArgs(cmd *cobra.Command) {
	check := cmd.Args
	switch {
	case cmd.HasSubCommands():
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		cmd.Args = func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageOf(cmd, "there is no such command")
			}
			return nil
		}
	case check != nil:
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if check(cmd, args) != nil {
				return usageOf(cmd, "this command takes other arguments: "+cmd.UseLine())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		quietArgs(sub)
	}
}

var (
	// errNotMet ends a command whose check found something.
	errNotMet = errors.New("the check is not met")
	// errUnreachable is no answer from a server.
	errUnreachable = errors.New("no server answers")
)

// hints says how to put right what an error reports.
var hints = []struct {
	err  error
	code int
	hint string
}{
	{context.Canceled, exitInterrupted, ""},
	{errNotMet, exitNotMet, ""},
	{errUnreachable, exitUnreachable, "start it with: ringfence serve --init, or name its address with --server"},
	{errOpenKeyring, exitFailed, "take the rights of others away: chmod 600 on the keyring file"},
	{errWideFolder, exitFailed, "take the rights of others away: chmod 700 on the folder"},
	{engine.ErrLocked, exitStore, "stop the other ringfence, or name another folder with --data"},
	{engine.ErrWrongKeyring, exitStore, "use the keyring that the folder was made with, or its newest copy if it was rotated; without it, what was counted cannot be read"},
	{errKeyInUse, exitFailed, "wait until they were seen again or have outlived their retention, or give them up with --force"},
	{errTyped, exitFailed, "start the server anew"},
	{engine.ErrNewerFormat, exitStore, "use the version of ringfence that wrote it, or a newer one"},
	{engine.ErrOlderFormat, exitStore, "copy the folder, then run: ringfence store upgrade"},
	{engine.ErrNotAStore, exitStore, "begin a new one with: ringfence serve --init"},
	{engine.ErrCorrupt, exitStore, "restore the folder from a backup"},
	{engine.ErrFull, exitStore, "make room on the disk: ringfence store purge gives up old events, store compact their space"},
	{syscall.ENOSPC, exitStore, "make room on the disk, some 64 MiB at least, and start again; then: ringfence store purge gives up old events, store compact their space"},
	{errNoKeyring, exitFailed, "name it with --keyring, or begin with: ringfence serve --init"},
	{errLostKeyring, exitFailed, "restore it from its backup, or name it with --keyring; a new one cannot read what was counted"},
	{replay.ErrNoField, exitUsage, "--map and --set take the fields of an event: see ringfence replay --help"},
	{errHasStore, exitFailed, "move it away first, or name another folder with --data"},
	{os.ErrExist, exitFailed, "name a folder that is not there yet"},
	{os.ErrNotExist, exitFailed, "check the path"},
}

// report prints an error with its hint and returns the exit code.
func report(err error, stderr io.Writer) int {
	if err == nil {
		return exitOK
	}
	code, hint := hintFor(err)
	if code == exitInterrupted {
		err = errors.New("interrupted")
	}
	_, _ = fmt.Fprintf(stderr, "ringfence: %v\n", err)
	if hint != "" {
		_, _ = fmt.Fprintf(stderr, "hint: %s\n", hint)
	}
	return code
}

// hintFor returns the exit code of an error, and how to put it right.
func hintFor(err error) (code int, hint string) {
	var policy *scoring.PolicyError
	if errors.As(err, &policy) {
		hint = "correct the lines named above; ringfence policy lint FILE checks again"
	}
	var settings *scoring.SettingsError
	if errors.As(err, &settings) {
		return exitUsage, "correct the lines named above; ringfence config show --help says what a configuration file is"
	}
	for _, h := range hints {
		if errors.Is(err, h.err) {
			return h.code, cmp.Or(h.hint, hint)
		}
	}
	var remote *remoteError
	if errors.As(err, &remote) {
		return remote.exit, remote.hint
	}
	var bad *usageError
	if errors.As(err, &bad) {
		return exitUsage, "see " + bad.command + " --help"
	}
	return exitFailed, hint
}

// newHelp replaces cobra's help command, which repeats what was typed.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "help about a command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usage("there is no such command")
			}
			return cmd.Help()
		},
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "ringfence", version)
			return err
		},
	}
}

// version is set by the linker in releases.
var version = "devel"
