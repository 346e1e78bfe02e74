package main

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/ringfence/ringfence/"

// layers gives every package its layer: imports go down only.
var layers = map[string]int{
	"hashing": 0, "scoring": 0, "engine/window": 0, "api": 0, "api/access": 1, "api/audit": 1,
	"engine/record": 1, "bench/traffic": 1, "engine": 2,
	"scoring/backtest": 3, "engine/pebblestore": 3, "engine/storetest": 3, "api/intake": 3,
	"api/server":            4,
	"cmd/ringfence/replay":  4,
	"cmd/ringfence/tracing": 0,
	"api/apitest":           5,
	"cmd/ringfence":         5,
	"bench":                 5,
	"bench/gate":            5,
	"bench/faults":          5,
	"bench/load":            4,
	"bench/scale":           5,
	"bench/sabotage":        5,
}

// owners gives every dependency the one package that may import it.
var owners = map[string]string{
	"github.com/nyaruka/phonenumbers": "hashing", "golang.org/x/crypto": "hashing",
	"cel.dev/cel-go": "scoring", "go.yaml.in/yaml": "scoring",
	"github.com/cockroachdb/pebble": "engine/pebblestore",
	"github.com/gin-gonic/gin":      "api/server", "github.com/prometheus/": "api/server",
	"github.com/spf13/cobra": "cmd/ringfence", "github.com/spf13/pflag": "cmd/ringfence",
	"github.com/guptarohit/asciigraph": "cmd/ringfence",
	"github.com/schollz/progressbar":   "cmd/ringfence", "golang.org/x/term": "cmd/ringfence",
	"go.opentelemetry.io/":              "cmd/ringfence/tracing",
	"github.com/pb33f/":                 "api/server", // in tests only
	"pgregory.net/rapid":                "engine/storetest",
	"github.com/anishathalye/porcupine": "engine/storetest",
	"github.com/rogpeppe/":              "cmd/ringfence", // in tests only
}

func TestLayers(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module)
		layer, ok := layers[pkg]
		if !ok {
			t.Errorf("%s has no layer: say which in this test", pkg)
		}
		seen++
		for _, imported := range fields[1:] {
			checkImport(t, pkg, layer, imported)
		}
	}
	if seen != len(layers) {
		t.Errorf("%d packages, %d layers", seen, len(layers))
	}
}

func checkImport(t *testing.T, pkg string, layer int, imported string) {
	t.Helper()
	if own, ok := strings.CutPrefix(imported, module); ok {
		if layers[own] >= layer {
			t.Errorf("%s imports %s: imports go down only, so that every package can be read without those above it", pkg, own)
		}
		return
	}
	if pkg == "api" && strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
		t.Errorf("api imports %s: clients must not inherit our dependencies", imported)
	}
	for prefix, owner := range owners {
		if strings.HasPrefix(imported, prefix) && pkg != owner {
			t.Errorf("%s imports %s: only %s may, so that it can be replaced in one place", pkg, imported, owner)
		}
	}
}
