package main

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"os"
	"testing"
)

// TestEveryBreakageStillApplies holds that the lines to break are in the source, once each, and that what they become is Go.
// That the harnesses notice is for make sabotage, which compiles the product once for each.
func TestEveryBreakageStillApplies(t *testing.T) {
	t.Chdir("../..")
	names := map[string]bool{}
	for _, b := range breakages {
		if names[b.name] {
			t.Errorf("%s: there are two", b.name)
		}
		names[b.name] = true
		path, err := b.overlay(t.TempDir())
		if err != nil {
			t.Errorf("%s: %v", b.name, err)
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var list struct{ Replace map[string]string }
		if err := json.Unmarshal(text, &list); err != nil || len(list.Replace) == 0 {
			t.Errorf("%s: replaces %d files: %v", b.name, len(list.Replace), err)
		}
		for _, broken := range list.Replace {
			if _, err := parser.ParseFile(token.NewFileSet(), broken, nil, 0); err != nil {
				t.Errorf("%s: %v", b.name, err)
			}
		}
	}
}
