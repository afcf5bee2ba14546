package stored

// NamedSQL is the condition that a filter's type or queue chooses a column's name, as
// lives.Names does. filter is a parameter, such as $2.
func NamedSQL(filter, column string) string {
	return "(" + filter + " = '' OR " + column + " = " + filter + " OR right(" + filter + ", 1) = '*' AND starts_with(" + column + ", left(" + filter + ", -1)))"
}
