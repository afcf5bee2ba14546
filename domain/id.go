package domain

import (
	"database/sql/driver"
	"encoding/hex"
	"fmt"
	"time"
)

// ID is a UUID (RFC 9562). If a producer gives an event no ID, the database or the Go client makes one of version 7,
// which sorts by time. The zero ID means "none yet".
type ID [16]byte

// ParseID reads the 36-character form, in either case. Its errors have
// CodeInvalid.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, Errorf(CodeInvalid, "%.40q is not a UUID", s)
	}
	digits := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return ID{}, Errorf(CodeInvalid, "%.40q is not a UUID", s)
	}
	return id, nil
}

// String returns the lower-case 36-character form.
func (id ID) String() string {
	var b [36]byte
	hex.Encode(b[:8], id[:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:], id[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// IsZero reports whether id is the zero ID.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText makes an ID a string in JSON, YAML and logs.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseID.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err == nil {
		*id = parsed
	}
	return err
}

// Value gives database drivers the text form.
func (id ID) Value() (driver.Value, error) { return id.String(), nil }

// Scan reads what database drivers return for a uuid column.
func (id *ID) Scan(src any) error {
	switch v := src.(type) {
	case string:
		return id.UnmarshalText([]byte(v))
	case []byte:
		if len(v) == len(id) {
			copy(id[:], v)
			return nil
		}
		return id.UnmarshalText(v)
	case [16]byte:
		*id = v
		return nil
	default:
		return fmt.Errorf("cannot read a UUID from %T", src)
	}
}

// IsOfDelivery reports whether id is of version 8, as the database makes the IDs of deliveries. The outbox refuses such
// an ID for any other event.
func (id ID) IsOfDelivery() bool { return id[6]>>4 == 8 }

// Time returns when a version 7 ID was made, to the millisecond. For the ID of a delivery, Time returns the time
// in its event's ID, if that ID is of version 7. Otherwise Time returns false.
func (id ID) Time() (time.Time, bool) {
	if id[6]>>4 != 7 && (!id.IsOfDelivery() || id[8]>>5 != 5) {
		return time.Time{}, false
	}
	var millis int64
	for _, b := range id[:6] {
		millis = millis<<8 | int64(b)
	}
	return time.UnixMilli(millis), true
}

// FirstID returns an ID that sorts before all version 7 IDs that are made at t or later. t is cut to milliseconds.
func FirstID(t time.Time) ID {
	var id ID
	millis := max(0, t.UnixMilli())
	for i := 5; i >= 0; i-- {
		id[i] = byte(millis)
		millis >>= 8
	}
	return id
}

// LastID returns the ID that sorts after all other IDs.
func LastID() (id ID) {
	for i := range id {
		id[i] = 0xff
	}
	return id
}

// Before returns the ID directly before id in the sort order. For the zero ID it returns the zero ID.
func (id ID) Before() ID {
	if id.IsZero() {
		return id
	}
	for i := len(id) - 1; ; i-- {
		id[i]--
		if id[i] != 0xff {
			return id
		}
	}
}
