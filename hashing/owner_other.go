//go:build !unix

package hashing

import "os"

// ours cannot tell where files have no owner.
func ours(os.FileInfo) bool { return true }
