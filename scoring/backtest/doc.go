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
// The log says of every outcome and every unlinking where among the events it was recorded: a replay counts it there. It does not know
//
//   - when an outcome was recorded that the log has from before format 4 of the store, nor what it replaced: it is applied at the second
//     it became known, before events of that second. An account that was unlinked before stays linked;
//   - the older ones of more than record.MaxReports reports of one event, and the unlinking of an account with no event among the newest
//     1,000 of the phone;
//   - what left the log, by age, by size or by a purge, so that the first events that are left see too little: From leaves them out;
//   - lists, but for what each event met on them. So it also forgets subjects that only a list kept from being forgotten.
//
// A release shows with the next event of the phone, which is when it matters. But for those, a replay with the policy that wrote the log
// decides as it did; the tests hold that.
//
// # Cost
//
// Both read the log once and keep none of it. Rescore takes a few megabytes, however long the log is.
// Replay holds a record of every subject it meets, as a store does, with the counts that the policy asks for: some 300 bytes each. A log whose
// phones are few takes little, however long it is, but for outcomes that were recorded long after their events: until it comes to where they were
// recorded, a replay holds some 160 bytes of each. Config.MaxSubjects bounds both.
//
// The same log, policy and Config give the same Result, and the same Digest.
package backtest
