package canary

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf16"
)

var planted = map[string]*Canary{
	"12025550187":       Number("number", "12025550187", "2025550187"),
	"acct-canary-41c7e": Text("account", "acct-canary-41c7e"),
	"203.0.113.77":      Address("address", "203.0.113.77"),
	"2001:db8:85a3::77": Address("address 6", "2001:db8:85a3::77"),
}

// TestControl holds that every form is found, and that nothing is found where nothing is.
func TestControl(t *testing.T) {
	for value, c := range planted {
		if overlooked := c.Control(); len(overlooked) > 0 {
			t.Errorf("%s: %v are overlooked", c.name, overlooked)
		}
		if found := c.Find([]byte(strings.Repeat("nothing of it 0123456789 ", 100))); len(found) > 0 {
			t.Errorf("found in what does not hold it: %v", found)
		}
		for i, leak := range leaks(value) {
			if len(c.Find(leak)) == 0 {
				t.Errorf("%s: leak %d, %q, is overlooked", c.name, i, leak)
			}
		}
	}
}

// leaks writes a value as other code would, by other means than New.
func leaks(value string) [][]byte {
	all := [][]byte{
		[]byte(value), fmt.Appendf(nil, "%x", value), fmt.Appendf(nil, "%X", value), fmt.Appendf(nil, "%v", []byte(value)),
		[]byte(url.QueryEscape("+" + value)),
		fmt.Append(nil, "account=", value, "\n"),
	}
	for shift := range 6 {
		text := strings.Repeat("x", shift) + value + "tail"
		all = append(all, []byte(base64.StdEncoding.EncodeToString([]byte(text))), []byte(base64.URLEncoding.EncodeToString([]byte(text))))
	}
	var wide []byte
	for _, u := range utf16.Encode([]rune("x" + value)) {
		wide = binary.BigEndian.AppendUint16(wide, u)
	}
	return append(all, wide)
}
