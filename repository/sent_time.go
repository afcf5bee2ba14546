package repository

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// sentTime is a time as the hexadecimal output of timestamptz_send:
// microseconds since 2000 in 64 bits, the most significant byte first.
type sentTime time.Time

// epoch2000 is the year 2000 in Unix seconds: PostgreSQL counts time from there.
const epoch2000 = 946_684_800

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *sentTime) UnmarshalText(text []byte) error {
	var b [8]byte
	if n, err := hex.Decode(b[:], text); err != nil || n != len(b) {
		return fmt.Errorf("%.40q is not a time as PostgreSQL sends it", text)
	}
	micros := int64(binary.BigEndian.Uint64(b[:])) //nolint:gosec // the same 64 bits
	// The sum is not made with a time.Duration, because a Duration holds only 292 years.
	*t = sentTime(time.Unix(epoch2000+micros/1_000_000, micros%1_000_000*1000).UTC())
	return nil
}
