package check

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
)

const root = "../../../.."

// TestGoreleaser reads the configuration as goreleaser does, which refuses unknown and misspelt fields, and holds
// what it names to what is there.
func TestGoreleaser(t *testing.T) {
	project, err := config.Load("../goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(project.Builds) != 1 || len(project.Archives) != 1 || len(project.SBOMs) != 1 {
		t.Fatal("not one build, one archive and one kind of SBOM")
	}
	build := project.Builds[0]
	if _, err := os.Stat(filepath.Join(root, build.Main, "main.go")); err != nil {
		t.Errorf("what is built is not there: %v", err)
	}
	if !slices.Contains(build.Env, "CGO_ENABLED=0") || !slices.Contains([]string(build.Flags), "-trimpath") || build.ModTimestamp != "{{ .CommitTimestamp }}" {
		t.Error("two builds of one commit would differ")
	}
	for _, file := range project.Archives[0].Files {
		if found, err := filepath.Glob(filepath.Join(root, file.Source)); err != nil || len(found) == 0 {
			t.Errorf("nothing is called %s: %v", file.Source, err)
		}
	}
	if !project.Release.Draft {
		t.Error("a release is published before anybody has seen it")
	}
}

// TestGoreleaserPins holds versions that stand in two places to be the same.
func TestGoreleaserPins(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	modules, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	project, err := config.Load("../goreleaser.yaml")
	if err != nil {
		t.Fatal(err)
	}
	pinned := func(name string) string {
		_, rest, _ := strings.Cut(string(makefile), "\n"+name+" := ")
		version, _, _ := strings.Cut(rest, "\n")
		return "v" + strings.TrimPrefix(version, "v")
	}
	if want := "github.com/goreleaser/goreleaser/v2 " + pinned("GORELEASER") + "\n"; !strings.Contains(string(modules), want) {
		t.Errorf("go.mod does not check with the goreleaser that releases: %s", want)
	}
	if args := strings.Join(project.SBOMs[0].Args, " "); !strings.Contains(args, "@"+pinned("CYCLONEDX")+" ") {
		t.Errorf("the SBOM is made by another version than make sbom has: %s", args)
	}
}
