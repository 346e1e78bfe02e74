//go:build race

package hashing

// share is what part of the long comparisons is made: the race detector makes the library ten times slower.
const share = 40
