package stored

// NamedSQL is the condition that a filter's type or queue chooses the name in a
// column, as lives.Names does. An empty filter chooses every name. filter is a
// parameter, such as $2.
func NamedSQL(filter, column string) string {
	return "(" + filter + " = '' OR " + column + " = " + filter + " OR right(" + filter + ", 1) = '*' AND starts_with(" + column + ", left(" + filter + ", -1)))"
}

// NotNamedSQL is the condition that no type in a list chooses the name in a column. filter is a parameter of the type
// text[]; NULL chooses nothing.
func NotNamedSQL(filter, column string) string {
	return "(" + filter + "::text[] IS NULL OR NOT EXISTS (SELECT FROM unnest(" + filter + "::text[]) AS left_out WHERE " +
		column + " = left_out OR right(left_out, 1) = '*' AND starts_with(" + column + ", left(left_out, -1))))"
}
