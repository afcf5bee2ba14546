// Package forms reads the forms of the pages, and the queries of their addresses, which have the same fields. It turns
// them into filters, and back into names and values for hidden fields, links and the record of actions. Most fields
// have the name of the flag that chooses the same in commands.
//
// The package shows nothing and changes nothing. Its errors have domain.CodeInvalid, and may be shown to the visitor.
package forms
