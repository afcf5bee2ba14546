package stored

import (
	"fmt"

	"outboxd/domain"
)

// NamedSQL is the condition that a filter's type or queue chooses the name in a column, as lives.Names does. An empty
// filter chooses every name. The argument filter names a parameter of the statement, such as $2.
func NamedSQL(filter, column string) string {
	return "(" + filter + " = '' OR " + column + " = " + filter + " OR right(" + filter + ", 1) = '*' AND starts_with(" + column + ", left(" + filter + ", -1)))"
}

// NotKeysSQL is the condition that an event has none of a filter's ordering keys. The argument filter names a
// parameter of the statement, of the type text[]; NULL leaves no event out.
func NotKeysSQL(filter string) string {
	return "(" + filter + "::text[] IS NULL OR ordering_key IS NULL OR ordering_key <> ALL (" + filter + "))"
}

// NotHeadersSQL returns the condition that an event has none of several headers. Its parameters are those of
// NotHeadersArgs, beginning with the given number.
func NotHeadersSQL(first int) string {
	return fmt.Sprintf("($%[1]d::text[] IS NULL OR NOT EXISTS (SELECT FROM unnest($%[1]d::text[], $%[2]d::text[]) AS left_out (name, value)"+
		" WHERE headers ->> left_out.name = left_out.value OR left_out.value = '' AND headers ->> left_out.name IS NOT NULL))", first, first+1)
}

// NotHeadersArgs returns the parameters of NotHeadersSQL: the names and the values.
func NotHeadersArgs(headers []domain.Header) []any {
	var names, values []string
	for _, h := range headers {
		names, values = append(names, h.Name), append(values, h.Value)
	}
	return []any{names, values}
}

// NotNamedSQL is the condition that no type in a list chooses the name in a column. The argument filter names a
// parameter of the statement, of the type text[]; NULL leaves no name out.
func NotNamedSQL(filter, column string) string {
	return "(" + filter + "::text[] IS NULL OR NOT EXISTS (SELECT FROM unnest(" + filter + "::text[]) AS left_out WHERE " +
		column + " = left_out OR right(left_out, 1) = '*' AND starts_with(" + column + ", left(left_out, -1))))"
}
