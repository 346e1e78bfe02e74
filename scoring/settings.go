package scoring

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// Setting is one name of a configuration file, and its value as it is written.
type Setting struct {
	Name, Value  string
	Line, Column int // of the value, from 1
}

// SettingsError lists everything that is wrong with a configuration file, in the order of
// the file.
type SettingsError struct{ Problems []Problem }

// Error returns one line for each problem.
func (e *SettingsError) Error() string { return (&PolicyError{e.Problems}).Error() }

// ReadSettings reads a flat file of settings by the rules for policies, so that the house has one
// strict reader of YAML: one plain document, every name known and given once, with a hint where it is not.
// Every value is one word, number or text. A SettingsError says everything that is wrong.
func ReadSettings(doc []byte, known []string) ([]Setting, error) {
	var anything yaml.Node
	if yaml.Unmarshal(doc, &anything) == nil && anything.IsZero() {
		return nil, nil // nothing but comments
	}
	c := new(compiler)
	root, err := c.parse(doc)
	if err != nil {
		return nil, settingsError(err)
	}
	var all []Setting
	for name, n := range c.fields(root, nil, known) {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			c.at(n, "write it as name: value", "%s has to be one value", name)
			continue
		}
		all = append(all, Setting{name, n.Value, n.Line, n.Column})
	}
	if err := c.err(); err != nil {
		return nil, settingsError(err)
	}
	slices.SortFunc(all, func(a, b Setting) int { return a.Line - b.Line })
	return all, nil
}

func settingsError(err error) error {
	if p, ok := err.(*PolicyError); ok { //nolint:errorlint // it was made here, and is not wrapped
		return &SettingsError{p.Problems}
	}
	return err
}
