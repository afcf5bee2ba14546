package client

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// ID is an event's ID, a UUID. The zero ID means none.
type ID [16]byte

// NewID returns a UUID of version 7 (RFC 9562, section 5.7). IDs are ordered by
// time, to the millisecond, so that the outbox's index grows near one end. The rest
// of an ID is random.
func NewID() ID {
	var id ID
	_, _ = rand.Read(id[6:]) // never fails
	var millis [8]byte
	binary.BigEndian.PutUint64(millis[:], uint64(time.Now().UnixMilli()))
	copy(id[:6], millis[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// ParseID reads a UUID in its usual form, with small or capital letters.
func ParseID(text string) (ID, error) {
	var id ID
	digits := make([]byte, 0, 32)
	for i := range len(text) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (text[i] == '-') {
			return ID{}, fmt.Errorf("%.60q is not a UUID", text)
		} else if !dash {
			digits = append(digits, text[i])
		}
	}
	if n, err := hex.Decode(id[:], digits[:min(len(digits), 32)]); err != nil || n != len(id) || len(text) != 36 {
		return ID{}, fmt.Errorf("%.60q is not a UUID", text)
	}
	return id, nil
}

// IsZero reports whether id is the zero ID.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the UUID in its usual form.
func (id ID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}
