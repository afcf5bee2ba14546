package traceparent

import "strings"

// Header is the header that names the trace of an event or of a request (W3C Trace Context).
const Header = "traceparent"

// The length of a traceparent header (W3C Trace Context, section 3.2): version, trace ID, parent ID and flags, with
// hyphens between.
const length = 2 + 1 + 32 + 1 + 16 + 1 + 2

// Parse returns the header in the form of version 00, and whether it is valid. A header of a later
// version is read as version 00 without its additional fields, as the standard requires.
func Parse(s string) (string, bool) {
	if len(s) < length || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return "", false
	}
	version, trace, parent, flags := s[:2], s[3:35], s[36:52], s[53:55]
	switch {
	case version == "ff":
		return "", false
	case version == "00" && len(s) != length:
		return "", false
	case len(s) > length && s[length] != '-':
		return "", false
	case !isLowerHex(version), !isLowerHex(trace), !isLowerHex(parent), !isLowerHex(flags):
		return "", false
	case strings.Trim(trace, "0") == "", strings.Trim(parent, "0") == "":
		return "", false
	}
	return "00" + s[2:length], true
}

// TraceID returns the trace ID in the traceparent header, or "" if there is no valid one.
func TraceID(headers map[string]string) string {
	if s, valid := Parse(headers[Header]); valid {
		return s[3:35]
	}
	return ""
}

// Sampled returns the trace ID if the trace is recorded (sampled), otherwise "".
func Sampled(headers map[string]string) string {
	s, valid := Parse(headers[Header])
	// The lowest bit of the flags means sampled.
	if !valid || strings.IndexByte("13579bdf", s[length-1]) < 0 {
		return ""
	}
	return s[3:35]
}

func isLowerHex(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') }) < 0
}
