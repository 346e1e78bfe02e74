// Package replay runs a file of raw events through the engine in event time, as if
// they had come in live: same parsing, same counting, same policy. Nothing
// outlives the run.
//
// A line is an event, an outcome or a label. Outcomes are told to the engine at
// their time. Labels never are: they are for the comparison at the end, so that no
// count can know the future. A label counts wherever it stands in the file.
//
// The file is read once. Each event is hashed as it is read and kept, in memory and
// beyond a bound in temporary files, until all labels are known; then events are
// applied in the order of the file or, if asked, of their times. What is kept is
// hashed, and what is in files is encrypted besides, with a key that is never written anywhere.
// Only explicit ids of events, and labels, are held in memory throughout, about 200
// bytes each.
//
// A line that cannot be used is reported by its number and never repeated.
package replay
