package domain

import "strings"

// HeaderTraceparent is the header of an event, and of a request, that carries
// the trace it belongs to (W3C Trace Context).
const HeaderTraceparent = "traceparent"

// The lengths of the fields of a traceparent header, in the W3C's Trace
// Context, section 3.2: version, trace ID, parent ID, flags.
const traceparentLen = 2 + 1 + 32 + 1 + 16 + 1 + 2

// ParseTraceparent returns the header in the form of version 00, and whether it
// is valid. A later version is read as 00, as the standard demands, without its
// additional fields.
func ParseTraceparent(s string) (string, bool) {
	if len(s) < traceparentLen || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return "", false
	}
	version, trace, parent, flags := s[:2], s[3:35], s[36:52], s[53:55]
	switch {
	case version == "ff":
		return "", false
	case version == "00" && len(s) != traceparentLen:
		return "", false
	case len(s) > traceparentLen && s[traceparentLen] != '-':
		return "", false
	case !isLowerHex(version), !isLowerHex(trace), !isLowerHex(parent), !isLowerHex(flags):
		return "", false
	case strings.Trim(trace, "0") == "", strings.Trim(parent, "0") == "":
		return "", false
	}
	return "00" + s[2:traceparentLen], true
}

// TraceID returns the ID of the trace that headers name, "" if they name none.
func TraceID(headers map[string]string) string {
	if s, valid := ParseTraceparent(headers[HeaderTraceparent]); valid {
		return s[3:35]
	}
	return ""
}

// SampledTrace returns the ID of the trace if it is recorded, and "" if not.
func SampledTrace(headers map[string]string) string {
	s, valid := ParseTraceparent(headers[HeaderTraceparent])
	// The lowest bit of the flags says sampled.
	if !valid || strings.IndexByte("13579bdf", s[traceparentLen-1]) < 0 {
		return ""
	}
	return s[3:35]
}

func isLowerHex(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') }) < 0
}
