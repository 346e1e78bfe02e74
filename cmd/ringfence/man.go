package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use: "man FOLDER", Short: "write manual pages, one for each command", Args: cobra.ExactArgs(1),
		Long: "Writes pages of section 1 into a folder that is there or can be made; read one with: man ./ringfence-serve.1",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // manuals are for everybody
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // with SOURCE_DATE_EPOCH, pages of the same version are the same
			keepExamples(root)
			head := &doc.GenManHeader{Title: "RINGFENCE", Section: "1", Source: "ringfence " + version, Manual: "ringfence"}
			if err := doc.GenManTree(root, head, args[0]); err != nil {
				return fmt.Errorf("cannot write the manual pages: %w", err)
			}
			return nil
		},
	}
}

// keepExamples indents what is indented in long texts far enough for Markdown, which pages are made from.
func keepExamples(cmd *cobra.Command) {
	lines := strings.Split(cmd.Long, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "  ") {
			lines[i] = "  " + line
			if i > 0 && lines[i-1] != "" && !strings.HasPrefix(lines[i-1], "  ") {
				lines[i] = "\n" + lines[i]
			}
		}
	}
	cmd.Long = strings.Join(lines, "\n")
	for _, sub := range cmd.Commands() {
		keepExamples(sub)
	}
}
