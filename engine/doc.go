// Package engine is the domain of ringfence: events, outcomes, account links,
// lists, and the question what to make of an event.
//
// Most callers need an Engine: Assess counts an event and answers with a score,
// a decision and reasons; Peek answers without counting; RecordOutcome, Unlink,
// Release and the list calls tell it what happened since.
//
// Everything here is in pseudonyms. An Event holds subjects that package
// hashing made; no number, account id, address or device id gets this far.
//
// A Store keeps the counts. The interface is the contract; package storetest
// holds it as tests, and package pebblestore implements it on an embedded Pebble.
package engine
