// Package check holds what is packaged to the schemas of those who read it. It is a module of its
// own, so that their code never enters the product's dependencies.
package check

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

func TestCompose(t *testing.T) {
	o, err := cli.NewProjectOptions([]string{"../compose.yaml"}, cli.WithName("ringfence"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := project.Services["ringfence"]
	if !s.ReadOnly || len(s.CapDrop) != 1 {
		t.Error("the container may do more than it needs")
	}
	if _, err := os.Stat(filepath.Join("../../../..", s.Build.Dockerfile)); err != nil {
		t.Errorf("the Dockerfile is not there: %v", err)
	}
}

// TestKubernetes decodes every object strictly: an unknown or misspelt field fails.
func TestKubernetes(t *testing.T) {
	text, err := os.ReadFile("../kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]any{"Service": new(corev1.Service), "StatefulSet": new(appsv1.StatefulSet), "NetworkPolicy": new(networkingv1.NetworkPolicy)}
	docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var head struct{ Kind string }
		if err := sigsyaml.Unmarshal(doc, &head); err != nil {
			t.Fatal(err)
		}
		into := kinds[head.Kind]
		if into == nil {
			t.Errorf("nobody expects a %q", head.Kind)
			continue
		}
		if err := sigsyaml.UnmarshalStrict(doc, into); err != nil {
			t.Errorf("%s: %v", head.Kind, err)
		}
		delete(kinds, head.Kind)
	}
	if len(kinds) > 0 {
		t.Errorf("missing: %v", kinds)
	}
}

func TestKubernetesRunsOne(t *testing.T) {
	text, err := os.ReadFile("../kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range bytes.Split(text, []byte("\n---\n")) {
		var set appsv1.StatefulSet
		if sigsyaml.Unmarshal(doc, &set) != nil || set.Kind != "StatefulSet" {
			continue
		}
		if *set.Spec.Replicas != 1 {
			t.Error("a data folder has one owner")
		}
		return
	}
	t.Error("no StatefulSet")
}
