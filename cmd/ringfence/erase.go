package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api"
)

const eraseHelp = `Asks a running server to forget a number: what was counted of it, its accounts, its events and its entries on lists.
The number, or its token, is the first line of standard input, so that it stays out of process lists and the history of the shell.

The answer is the same whether the number was known or not. Keep the receipt: together with the number and the keyring, it
shows that the number was erased at that time. What the number counted for the addresses, devices and accounts it was
seen with stays. The bytes leave the disk with time; to be sure, stop the server and run: ringfence store compact --hard

  printf '%s' "$number" | ringfence erase`

func newErase() *cobra.Command {
	var f clientFlags
	var region string
	cmd := &cobra.Command{
		Use: "erase", Short: "forget a number, given on standard input", Long: eraseHelp, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := readErase(cmd.InOrStdin(), region)
			if err != nil {
				return err
			}
			a, err := f.client().Erase(cmd.Context(), req)
			if err != nil {
				return explained(err)
			}
			return f.print(cmd.OutOrStdout(), a, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "erased at\t%s\nreceipt\t%s\n", a.ErasedAt, a.Receipt)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&region, "region", "", "region of a number without country code, two letters")
	return cmd
}

// readErase reads a number, or a token, which begins with a letter.
func readErase(in io.Reader, region string) (req api.PhoneRequest, err error) {
	line, err := bufio.NewReader(io.LimitReader(in, 1<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return req, fmt.Errorf("cannot read standard input: %w", err)
	}
	line = strings.TrimSpace(line)
	if line == "" {
		return req, usage("give the number, or its token, on standard input")
	}
	if strings.HasPrefix(line, "k") {
		return api.PhoneRequest{PhoneToken: line}, nil
	}
	return api.PhoneRequest{PhoneNumber: line, DefaultRegion: region}, nil
}
