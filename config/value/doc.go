// Package value has the types of option values other than text and numbers. Package value
// also reads and writes the values of all options. Each type writes the text that it
// reads, except that a secret is masked.
//
// Package config decides which options exist and which values each option may have.
package value
