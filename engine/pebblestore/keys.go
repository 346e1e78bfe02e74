package pebblestore

import (
	"encoding/binary"

	"github.com/ringfence/ringfence/engine/record"
	"github.com/ringfence/ringfence/hashing"
)

// The tables: see the package doc.
const (
	tableMeta    = 0x01
	tableSubject = 0x10
	tableLog     = 0x20
	tableJournal = 0x21
	tableOnce    = 0x30
	tableNames   = 0x40
	tableEntries = 0x41
	tablePolicy  = 0x50

	tablePolicyNote = 0x51
	tableRollouts   = 0x52
	tableRolledOut  = 0x53
	tableForward    = 0x54
	tableBack       = 0x55
)

var (
	keyFormat    = []byte("\x01format")
	keyWatermark = []byte("\x01watermark")
	keyRetention = []byte("\x01retention")
	keyClock     = []byte("\x01clock")
	keyUnlinked  = []byte("\x01unlinked")
)

func appendCheckKey(dst []byte, id hashing.KeyID) []byte {
	dst = append(dst, "\x01check"...)
	return binary.BigEndian.AppendUint16(dst, uint16(id))
}

func appendSubjectKey(dst []byte, s hashing.Subject) []byte {
	return s.Append(append(dst, tableSubject))
}

// appendTable begins the key of a table that is divided by domain.
func appendTable(dst []byte, table byte, domain hashing.DomainID) []byte {
	return binary.BigEndian.AppendUint16(append(dst, table), uint16(domain))
}

func appendLogKey(dst []byte, domain hashing.DomainID, id record.EventID) []byte {
	return append(appendTable(dst, tableLog, domain), id[:]...)
}

// journalKeySize is table and Seq.
const journalKeySize = 1 + 8

func appendJournalKey(dst []byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tableJournal), seq)
}

func appendOnceKey(dst []byte, domain hashing.DomainID, key hashing.Digest) []byte {
	return append(appendTable(dst, tableOnce, domain), key[:]...)
}

// entriesPrefix is the length of table, domain and list id.
const entriesPrefix = 1 + 2 + 2

func appendEntriesPrefix(dst []byte, domain hashing.DomainID, list uint16) []byte {
	return binary.BigEndian.AppendUint16(appendTable(dst, tableEntries, domain), list)
}

func appendPolicyKey(dst []byte, domain hashing.DomainID, version uint32) []byte {
	return appendVersionKey(dst, tablePolicy, domain, version)
}

// appendVersionKey is the key of a table whose rows belong to versions of the policy.
func appendVersionKey(dst []byte, table byte, domain hashing.DomainID, version uint32) []byte {
	return binary.BigEndian.AppendUint32(appendTable(dst, table, domain), version)
}

// after returns the smallest key greater than every key that begins with prefix.
// A prefix of a table never consists of 0xff alone.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
