package client

import (
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// mostBytes is how many bytes a type, a queue or an ordering key may have in the
// outbox.
const mostBytes = 255

// check returns a Refusal for values that the outbox would refuse. check leaves two
// limits to the outbox: the payload's, which can be configured there, and that of
// the headers, whose size only PostgreSQL can measure.
func (r *record) check() error {
	if r.ID[6]>>4 == 8 {
		return refusal("ID", "is %s; a UUID of version 8 is the ID of a delivery", r.ID)
	}
	if r.Type == "" {
		return refusal("Type", "is empty")
	}
	for _, name := range []struct{ field, value string }{{"Type", r.Type}, {"Queue", r.Queue}, {"OrderingKey", r.OrderingKey}} {
		if err := checkText(name.field, name.value); err != nil {
			return err
		}
		if len(name.value) > mostBytes {
			return refusal(name.field, "has %d bytes; at most %d are taken", len(name.value), mostBytes)
		}
		if name.value != "" && isBlank(name.value) {
			return refusal(name.field, "is %q, which shows nothing", name.value)
		}
	}
	if strings.HasPrefix(r.Queue, "}") {
		return refusal("Queue", "is %q; a name that begins with } cannot be used on a Redis Cluster", r.Queue)
	}
	for name, value := range r.Headers {
		if err := checkText("Headers", name); err != nil {
			return err
		}
		if err := checkText("Headers", value); err != nil {
			return err
		}
	}
	if r.MaxRetry != nil && (*r.MaxRetry < 0 || *r.MaxRetry > math.MaxInt32) {
		return refusal("MaxRetry", "is %d; it has to be from 0 to %d", *r.MaxRetry, math.MaxInt32)
	}
	if err := checkYear("Deadline", r.Deadline, 1971); err != nil {
		return err
	}
	return checkYear("AvailableAt", r.AvailableAt, 1)
}

// checkText refuses text that PostgreSQL cannot store. encoding/json would silently
// replace invalid UTF-8.
func checkText(field, value string) error {
	if !utf8.ValidString(value) {
		return refusal(field, "has %.100q, which is not UTF-8", value)
	}
	if strings.ContainsRune(value, 0) {
		return refusal(field, "has %.100q, and PostgreSQL stores no zero byte in a text", value)
	}
	return nil
}

func checkYear(field string, at *time.Time, first int) error {
	if at != nil && (at.Year() < first || at.Year() > 9999) {
		return refusal(field, "is in the year %d; it has to be from %d to 9999", at.Year(), first)
	}
	return nil
}

// isBlank reports whether a text has only invisible characters. The list of these
// characters is the same as in the outbox's SQL function outbox_is_blank.
func isBlank(text string) bool {
	for _, c := range text {
		if c > ' ' && c < 0x7f || !unicode.Is(invisible, c) {
			return false
		}
	}
	return true
}

var invisible = &unicode.RangeTable{LatinOffset: 3, R16: []unicode.Range16{
	{Lo: 0x01, Hi: 0x20, Stride: 1},
	{Lo: 0x7f, Hi: 0xa0, Stride: 1},
	{Lo: 0xad, Hi: 0xad, Stride: 1},
	{Lo: 0x34f, Hi: 0x34f, Stride: 1},
	{Lo: 0x61c, Hi: 0x61c, Stride: 1},
	{Lo: 0x115f, Hi: 0x1160, Stride: 1},
	{Lo: 0x1680, Hi: 0x1680, Stride: 1},
	{Lo: 0x17b4, Hi: 0x17b5, Stride: 1},
	{Lo: 0x180b, Hi: 0x180f, Stride: 1},
	{Lo: 0x2000, Hi: 0x200f, Stride: 1},
	{Lo: 0x2028, Hi: 0x202f, Stride: 1},
	{Lo: 0x205f, Hi: 0x206f, Stride: 1},
	{Lo: 0x2800, Hi: 0x2800, Stride: 1},
	{Lo: 0x3000, Hi: 0x3000, Stride: 1},
	{Lo: 0x3164, Hi: 0x3164, Stride: 1},
	{Lo: 0xfe00, Hi: 0xfe0f, Stride: 1},
	{Lo: 0xfeff, Hi: 0xfeff, Stride: 1},
	{Lo: 0xffa0, Hi: 0xffa0, Stride: 1},
}}
