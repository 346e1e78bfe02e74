package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"
)

func newStore() *cobra.Command {
	store := &cobra.Command{Use: "store", Short: "look after a data folder"}
	store.AddCommand(newStoreUpgrade())
	return store
}

func newStoreUpgrade() *cobra.Command {
	f := dataFlags{upgrade: true}
	cmd := &cobra.Command{
		Use: "upgrade", Short: "bring a data folder of an older version to the present format", Args: cobra.NoArgs,
		Long: "Stop the server and copy the folder first: afterwards, older versions cannot open it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, _, err := f.open(false, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			if err := s.Close(); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.ErrOrStderr(), "ringfence: the data folder has the present format")
			return err
		},
	}
	f.add(cmd)
	return cmd
}
