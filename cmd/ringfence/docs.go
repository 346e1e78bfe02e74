package main

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api"
)

// pages are the documentation. TestDocs executes what they tell to type.
//
//go:embed docs/*.md
var pages embed.FS

func newDocs() *cobra.Command {
	return &cobra.Command{
		Use: "docs [TOPIC]", Short: "print a page of the documentation, or what pages there are", Args: cobra.MaximumNArgs(1),
		ValidArgs: topics(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listTopics(cmd)
			}
			text, err := pages.ReadFile(path.Join("docs", path.Base(args[0])+".md"))
			if err != nil {
				return usage("there is no such page; there are: " + strings.Join(topics(), ", "))
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
}

func topics() []string {
	names, _ := fs.Glob(pages, "docs/*.md") // fails for a bad pattern only
	for i, name := range names {
		names[i] = strings.TrimSuffix(path.Base(name), ".md")
	}
	return names
}

// listTopics prints each page with its title.
func listTopics(cmd *cobra.Command) error {
	for _, topic := range topics() {
		text, err := pages.ReadFile(path.Join("docs", topic+".md"))
		if err != nil {
			return err
		}
		title, _, _ := strings.Cut(strings.TrimPrefix(string(text), "# "), "\n")
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%-12s%s\n", topic, title); err != nil {
			return err
		}
	}
	return nil
}

func newOpenAPI() *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Short: "print the description of the API, OpenAPI 3.1 in YAML", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(api.OpenAPI())
			return err
		},
	}
}
