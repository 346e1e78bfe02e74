package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringfence/ringfence/api/audit"
	"github.com/ringfence/ringfence/hashing"
)

func (f *dataFlags) auditPath() string { return filepath.Join(f.data, "audit") }

// auditLog opens the log of who did what.
func (f *dataFlags) auditLog(ring *hashing.Keyring) (*audit.Log, error) {
	return audit.Open(f.auditPath(), ring.Auditor(), time.Now, 0)
}

// byHand is the entry of a command: the user of the machine did it.
func byHand(did, object, before, after string) audit.Entry {
	return audit.Entry{Who: fmt.Sprintf("user:%d", os.Getuid()), Did: did, Object: object, Before: before, After: after}
}

// noteDown writes what a command did into the audit log.
func (f *dataFlags) noteDown(ring *hashing.Keyring, did, before, after string) error {
	log, err := f.auditLog(ring)
	if err != nil {
		return err
	}
	return log.Append(byHand(did, "", before, after))
}

func newAudit() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "the log of who changed what"}
	cmd.AddCommand(newAuditVerify(), newAuditLs())
	return cmd
}

func newAuditVerify() *cobra.Command {
	var f dataFlags
	var chainOnly bool
	cmd := &cobra.Command{
		Use: "verify", Short: "check that nobody changed the audit log; exits 3 when somebody did", Args: cobra.NoArgs,
		Long: "Recomputes the chain of all entries and their codes under the keyring. What a check cannot see is that the newest entries\n" +
			"are gone: note the head that it prints somewhere else, and look whether a later log still has it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var keys *hashing.Auditor
			if !chainOnly {
				ring, err := f.loadKeyring()
				if err != nil {
					return err
				}
				keys = ring.Auditor()
			}
			r, err := audit.Verify(f.auditPath(), keys)
			var broken *audit.Broken
			if errors.As(err, &broken) {
				return errors.Join(errNotMet, err)
			}
			if err != nil {
				return err
			}
			if _, err = fmt.Fprintf(cmd.OutOrStdout(), "entries %d to %d, head %s\n", r.First, r.Last, r.Head); err == nil && r.Unproven > 0 {
				_, err = fmt.Fprintf(cmd.ErrOrStderr(), "ringfence: %d entries were written under keys that are destroyed: their chain holds, but nobody can tell any more whether this installation wrote them\n", r.Unproven)
			}
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&chainOnly, "chain-only", false, "check the chain without the keyring: whoever can write the files could have made it anew")
	return cmd
}

func newAuditLs() *cobra.Command {
	var f dataFlags
	form := output("table")
	cmd := &cobra.Command{
		Use: "ls", Short: "list who changed what, oldest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			var failed error
			err := audit.Read(f.auditPath(), func(e audit.Entry) bool {
				if form == "table" {
					_, failed = fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Seq, e.At.Format(time.RFC3339), e.Who, e.Did, dash(e.Object), dash(e.Before), dash(e.After))
				} else {
					failed = json.NewEncoder(cmd.OutOrStdout()).Encode(e)
				}
				return failed == nil
			})
			return errors.Join(err, failed, t.Flush())
		},
	}
	f.add(cmd)
	cmd.Flags().VarP(&form, "output", "o", "table, or an entry a line of JSON")
	return cmd
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
