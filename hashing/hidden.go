package hashing

// hidden holds a secret value two pointers away from whoever holds it. Package
// fmt cannot call methods of unexported fields and prints what they hold: it
// follows one pointer where a verb does not fit (%s of a pointer), but never
// two.
type hidden[T any] struct{ v *T }

func hide[T any](v T) *hidden[T] { return &hidden[T]{&v} }
