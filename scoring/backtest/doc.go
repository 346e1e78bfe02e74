// Package backtest says what a policy would have decided about the past, how sure that is, and which
// thresholds meet a goal.
//
// Rescore judges the values that were logged with every event: exact, and fast. A
// policy that reads a signal that was not recorded cannot be rescored on such events; they
// are left out and counted, never made up. Replay counts all over again from the
// events themselves, so that new signals and windows can be tried. Both go through
// scoring.Policy.Judge, as live decisions do, and Replay counts with package record, as
// stores do.
//
// A label counts once it is mature: some abuse takes weeks to show. Where the live policy let a share of its
// blocks through (its holdout), those stand for all that it blocked, weighted by the inverse of the share; what it
// blocked has no honest label. Shares come with Wilson intervals at 95 %; with weights, of the
// effective number of labels.
//
// # What Replay cannot know
//
// The log keeps the last outcome of a kind, not those it replaced, and no unlinking. An
// outcome is applied at the second it became known, before events of that second: one that was
// told later with a time in the past is known from that time on, though no decision knew of it. Events
// that were imported after younger ones are counted where they stand in the log, by their own times, and
// what became of others once an event has reached its time, which need not be the event before which it was told. A release shows
// with the next event of the phone. Lists are as they were when the event was logged. What left the
// log, by age, by size or by a purge, is not counted, so that the first events that are left see too little: From leaves them out. But
// for those, a replay with the policy that wrote the log decides as it did, if the log is
// complete from the first event on; the tests hold that.
//
// # Cost
//
// Both read the log once and keep none of it. Rescore takes a few megabytes, however long the log is.
// Replay holds a record of every subject it meets, as a store does, with the counts that the policy asks for: some 300 bytes each. A log whose
// phones are few takes little, however long it is.
//
// The same log, policy and Config give the same Result, and the same Digest.
package backtest
