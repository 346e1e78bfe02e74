// Package load makes made-up traffic for measurements, applies it, and says what that took.
//
// A Mix says who takes part; a Source draws events from it, one source a goroutine. Closed keeps
// a number of workers busy, each of which waits for its answer before it asks again; Open
// asks at a given rate, whatever the answers take, and so shows what callers see who do
// not wait for one another. Both return a Result with what was done, the time and the CPU time that went by, and
// the times to answer.
//
// Times measured on a machine that does anything else are not worth comparing.
package load
