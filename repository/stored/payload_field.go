package stored

import (
	"fmt"
	"strings"

	"outboxd/domain"
)

// fieldSQL is the condition that a payload has a value at a path. JSON is read only if the
// payload may match: if it contains the bytes that every such payload has, or an escape
// (\u), which may stand for any of them. A payload without the path may make the condition
// NULL. A value that begins with { or [ matches no object and no list, because a match
// would tell the values of the fields within it, also of those that the pages hide.
var fieldSQL = `CASE WHEN position(%[3]s IN payload) = 0 AND position('\x5c75'::bytea IN payload) = 0 THEN false
        WHEN CASE WHEN left(%[2]s, 1) IN ('{', '[') AND outbox_payload_field(payload, %[1]s) IS NOT NULL THEN ` + NestedSQL("%[1]s") + ` ELSE false END THEN false
        WHEN %[2]s IS NULL THEN outbox_payload_field(payload, %[1]s) IS NOT NULL WHEN right(%[2]s, 1) = '*' THEN starts_with(outbox_payload_field(payload, %[1]s), left(%[2]s, -1))
        ELSE outbox_payload_field(payload, %[1]s) IS NOT DISTINCT FROM %[2]s END`

// FieldSQL returns a condition for a domain.PayloadField. Its parameters are those of FieldArgs, beginning with the
// given number.
func FieldSQL(first int) string {
	path := fmt.Sprintf("$%d::text[]", first)
	return "CASE WHEN " + path + " IS NULL THEN true ELSE " + fmt.Sprintf(fieldSQL, path, fmt.Sprintf("$%d::text", first+1), fmt.Sprintf("$%d::bytea", first+2)) + " END"
}

// FieldArgs returns the parameters of FieldSQL: the path, the value, and bytes that every
// such payload without escapes has.
func FieldArgs(f domain.PayloadField) []any {
	return []any{f.Path, valueOf(f), f.Part()}
}

// NotFieldsSQL returns the condition that a payload has none of several fields. Its parameters are those of
// NotFieldsArgs, beginning with the given number.
func NotFieldsSQL(first int) string {
	return fmt.Sprintf("($%[1]d::text[] IS NULL OR NOT EXISTS (SELECT FROM unnest($%[1]d::text[], $%[2]d::text[], $%[3]d::bytea[]) AS left_out (path, value, part) WHERE ", first, first+1, first+2) +
		fmt.Sprintf(fieldSQL, "string_to_array(left_out.path, '.')", "left_out.value", "left_out.part") + "))"
}

// NotFieldsArgs returns the parameters of NotFieldsSQL: an array of each parameter of
// FieldArgs. An array of PostgreSQL cannot have paths of different lengths, so each path is
// one text.
func NotFieldsArgs(fields []domain.PayloadField) []any {
	var paths []string
	var values []*string
	var parts [][]byte
	for _, f := range fields {
		paths, values, parts = append(paths, strings.Join(f.Path, ".")), append(values, valueOf(f)), append(parts, f.Part())
	}
	return []any{paths, values, parts}
}

// ValueSQL returns an expression for the text at a path of a payload, or NULL, as the function outbox_payload_field
// does. Both arguments name parameters of the statement: the path, and the bytes that every payload with this path
// contains (domain.PayloadField.Part).
func ValueSQL(path, part string) string {
	return "CASE WHEN position(" + part + "::bytea IN payload) > 0 OR " + part + ` IS NULL OR position('\x5c75'::bytea IN payload) > 0 THEN outbox_payload_field(payload, ` + path + "::text[]) END"
}

// NestedSQL returns the condition that a payload has an object or a list at a path. The condition fails if the
// payload is not JSON, so use it only if ValueSQL is not NULL.
func NestedSQL(path string) string {
	return "json_typeof(convert_from(payload, 'UTF8')::json #> " + path + "::text[]) IN ('object', 'array')"
}

// valueOf returns the value that a field must have; nil means any value.
func valueOf(f domain.PayloadField) *string {
	if f.Any {
		return nil
	}
	return &f.Value
}
