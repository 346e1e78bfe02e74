package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// output is the value of -o: how results are printed.
type output string

// Set takes the name of a form.
func (o *output) Set(name string) error {
	switch name {
	case "table", "json", "ndjson":
		*o = output(name)
		return nil
	}
	return errors.New("table, json or ndjson")
}

// String returns the name of the form.
func (o *output) String() string { return string(*o) }

// Type names the kind of value in help texts.
func (*output) Type() string { return "form" }

// choices are the values of flags that take few, for completion in shells.
var choices = map[string][]string{
	"output": {"table", "json", "ndjson"}, "on-error": {"deny", "allow", "challenge"},
	"event": {"signup", "verification", "sign_in", "checkout", "recovery", "number_change"},
}

// completeFlags tells a shell the choices of every flag of a command and those below it.
func completeFlags(cmd *cobra.Command) {
	for name, values := range choices {
		if cmd.Flags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // once for each flag
		}
	}
	for _, sub := range cmd.Commands() {
		completeFlags(sub)
	}
}
