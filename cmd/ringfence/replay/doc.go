// Package replay runs a file of raw events through the engine in event time, as if
// they had come in live: same parsing, same counting, same policy. Nothing
// outlives the run.
//
// A line is an event, an outcome or a label. Outcomes are told to the engine at
// their time. Labels never are: they are for the comparison at the end, so that no
// count can know the future. A label counts wherever it stands in the file.
//
// The file is read once. Each line is hashed as it is read and kept, in memory and
// beyond a bound in temporary files. What has an id is sorted by it, so that events learn their
// labels; then all is sorted into the order of the file or, if asked, of times, and applied. What
// is kept is hashed, and what is in files is encrypted besides, with a key that is never written
// anywhere. So however long the file, memory is needed for two bounded batches of lines, for events
// whose outcomes are still to come, and for what the engine counts.
//
// Import reads the same files and counts them into a store that stays, each event once.
//
// A line that cannot be used is reported by its number and never repeated.
package replay
