package main

import "errors"

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
