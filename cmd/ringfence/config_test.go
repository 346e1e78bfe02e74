package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestConfigIsTheManual holds that every setting is documented where it is declared, and is a flag of a command
// besides config show, with the default and the words that Config has for it.
func TestConfigIsTheManual(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	fields := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Config" {
			return true
		}
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			if fields++; !strings.HasPrefix(f.Doc.Text(), f.Names[0].Name+" ") || len(f.Doc.Text()) < 40 {
				t.Errorf("%s is not documented", f.Names[0].Name)
			}
		}
		return false
	})
	used := map[string]int{}
	walk(newRoot(io.Discard), nil, func(cmd *cobra.Command, words []string) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			name := strings.ReplaceAll(f.Name, "-", "_")
			if f.Annotations[origin] == nil {
				return
			}
			used[name]++
			if value, words := manual(name); f.DefValue != value || f.Usage != words {
				t.Errorf("%s: --%s is not what Config says", cmd.CommandPath(), f.Name)
			}
		})
	})
	if fields == 0 || fields != reflect.TypeFor[Config]().NumField() || len(used) != fields {
		t.Errorf("%d fields, %d settings", fields, len(used))
	}
	for name, n := range used {
		if n < 2 {
			t.Errorf("no command but config show has %s", name)
		}
	}
}
