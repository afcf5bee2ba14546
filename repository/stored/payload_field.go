package stored

import (
	"fmt"

	"outboxd/domain"
)

// FieldSQL returns a condition for a domain.PayloadField. Its parameters are those of
// FieldArgs, from first on. JSON is read only if the payload may match: if it contains the
// bytes that every such payload has, or an escape (\u), which may stand for any of them.
func FieldSQL(first int) string {
	return fmt.Sprintf(`CASE WHEN $%[1]d::text[] IS NULL THEN true WHEN position($%[3]d::bytea IN payload) = 0 AND position('\x5c75'::bytea IN payload) = 0 THEN false
        WHEN $%[2]d::text IS NULL THEN outbox_payload_field(payload, $%[1]d) IS NOT NULL WHEN right($%[2]d, 1) = '*' THEN starts_with(outbox_payload_field(payload, $%[1]d), left($%[2]d, -1))
        ELSE outbox_payload_field(payload, $%[1]d) IS NOT DISTINCT FROM $%[2]d END`, first, first+1, first+2)
}

// FieldArgs returns the parameters of FieldSQL: the path, the value, and bytes that every
// such payload without escapes has.
func FieldArgs(f domain.PayloadField) []any {
	var value *string
	if !f.Any {
		value = &f.Value
	}
	return []any{f.Path, value, f.Part()}
}
