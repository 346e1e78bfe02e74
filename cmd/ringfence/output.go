package main

import (
	"errors"
	"maps"
	"slices"
	"strings"

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

// choice is a flag that takes one of a few words.
type choice struct {
	value *string
	kind  string
	of    []string
}

// Set takes one of the words.
func (c choice) Set(word string) error {
	if !slices.Contains(c.of, word) {
		return errors.New(c.words())
	}
	*c.value = word
	return nil
}

// String returns the word that was chosen.
func (c choice) String() string { return *c.value }

// Type names the kind of value in help texts.
func (c choice) Type() string { return c.kind }

func (c choice) words() string {
	last := len(c.of) - 1
	return strings.Join(c.of[:last], ", ") + " or " + c.of[last]
}

// choices are the values of flags that take few, for completion in shells.
var choices = map[string][]string{
	"output": {"table", "json", "ndjson"}, "on-error": {"deny", "allow", "challenge"},
	"event": {"signup", "verification", "sign_in", "checkout", "recovery", "number_change"},
}

// completeFlags tells a shell the choices of every flag of a command and those below it.
func completeFlags(cmd *cobra.Command) {
	for _, name := range append(slices.Collect(maps.Keys(choices)), "table") {
		if flag := cmd.Flags().Lookup(name); flag != nil {
			values := choices[name]
			if few, ok := flag.Value.(choice); ok {
				values = few.of
			}
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // once for each flag
		}
	}
	for _, sub := range cmd.Commands() {
		completeFlags(sub)
	}
}
