// Package value has the types of the options that are more than text and numbers,
// and reads and writes the values of all. Each writes what it reads, but for
// secrets, which are masked.
//
// Which options there are, and which values each may have, is package config's.
package value
