package server

import "strings"

// traceIDOf returns the trace id of a traceparent header (W3C Trace Context, version 00), "" for
// one that is not well formed. Trace ids are random, so that one of decimal digits only is not
// believed: somebody may have put a number there, and the log has no place for numbers.
func traceIDOf(traceparent string) string {
	if len(traceparent) != len("00-")+32+1+16+1+2 {
		return ""
	}
	parts := strings.Split(traceparent, "-")
	if len(parts) != 4 || parts[0] != "00" || !lowerHex(parts[1], 32) || !lowerHex(parts[2], 16) || !lowerHex(parts[3], 2) ||
		strings.Trim(parts[1], "0123456789") == "" {
		return ""
	}
	return parts[1]
}

func lowerHex(s string, n int) bool { return len(s) == n && strings.Trim(s, "0123456789abcdef") == "" }
