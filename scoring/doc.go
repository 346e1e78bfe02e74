// Package scoring turns what was measured about an event into a score, a
// decision and reasons, as a policy says.
//
// Compile reads a policy from YAML and reports every problem of the file at once. A
// Policy is immutable and safe for concurrent use. It says which Signals it
// needs; who measures them fills the slots, one float64 each, and Evaluate does
// the rest without allocating. NaN in a slot means unknown: a rule that needs it
// does not fire, and the assessment lists it as degraded.
//
// The package is pure: no input or output, no clock, no store. It is the only one that
// imports CEL and YAML.
package scoring
