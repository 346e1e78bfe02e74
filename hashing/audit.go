package hashing

import (
	"crypto/hmac"
	"fmt"
	"io"
	"log/slog"
)

// auditSpace stands where subkeys of a domain have its name. No domain can be
// called so: an audit log is of an installation, whatever its domains are.
const auditSpace = "*"

const attrAudit = "audit"

// Auditor makes and checks the codes that tie the entries of an audit log to the
// keyring. It is safe for concurrent use, and shows nothing of itself when
// formatted, logged or encoded.
type Auditor struct{ p *hidden[auditor] }

type auditor struct {
	primary int
	macs    map[int]*mac // by key of the keyring; nil for one that is destroyed
}

// Auditor returns the auditor of a keyring.
func (k *Keyring) Auditor() *Auditor {
	a := auditor{macs: map[int]*mac{}}
	for _, key := range k.p.v.Keys {
		if key.State == Destroyed {
			a.macs[key.ID] = nil
			continue
		}
		a.macs[key.ID] = newMAC(subkey(key.Secret, auditSpace, attrAudit))
		if key.State == Primary {
			a.primary = key.ID
		}
	}
	return &Auditor{hide(a)}
}

// Sign returns the code of a text under the primary key, and the key's id.
func (a *Auditor) Sign(text string) (key int, code Digest) {
	return a.p.v.primary, a.p.v.macs[a.p.v.primary].digest(nil, text)
}

// Check reports whether a code is that of a text under a key, and whether nobody can tell
// any more, since the key is destroyed. A key that the keyring never had makes no codes.
func (a *Auditor) Check(key int, text string, code Digest) (same, untold bool) {
	m, ours := a.p.v.macs[key]
	if m == nil {
		return false, ours
	}
	want := Digest(m.digest(nil, text))
	return hmac.Equal(want[:], code[:]), false
}

const redactedAuditor = "[auditor]"

// Format prints a fixed word for every verb.
func (Auditor) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedAuditor) }

// MarshalText returns a fixed word, and with it so does every encoder.
func (Auditor) MarshalText() ([]byte, error) { return []byte(redactedAuditor), nil }

// LogValue returns a fixed word.
func (Auditor) LogValue() slog.Value { return slog.StringValue(redactedAuditor) }
