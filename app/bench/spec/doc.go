// Package spec says what a benchmark is for the command line: its name, its help, its
// flags and the function that runs it. The benchmarks are in other packages.
package spec
