//go:build unix

package hashing

import (
	"os"
	"syscall"
)

// handedDown returns the rights that others than its owner may have on a file.
func handedDown(info os.FileInfo) os.FileMode {
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && st.Uid == 0 && os.Geteuid() != 0 {
		return 0o040
	}
	return 0
}

// ours reports whether a file belongs to the user of this process, or to root.
func ours(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int64(st.Uid) == int64(os.Geteuid()))
}
