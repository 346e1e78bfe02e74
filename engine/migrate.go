package engine

import "github.com/ringfence/ringfence/hashing"

// Migration names subjects under the key that they are to be kept under, and the same ones under older keys.
type Migration struct {
	Domain hashing.DomainID
	Now    int64 // unix seconds
	To     hashing.Version
	From   []hashing.Version // a zero Subject has no older version
}
