package main

import (
	"fmt"
	"syscall"
)

// undumpable is prctl(PR_SET_DUMPABLE, 0): no core dump whatever the limits are, no ptrace by the same user, and
// /proc/PID belongs to root.
func undumpable() error {
	if _, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 0, 0); e != 0 {
		return fmt.Errorf("the process cannot be made undumpable: %w", e)
	}
	return nil
}
