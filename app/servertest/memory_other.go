//go:build !linux

package servertest

// memoryFolder returns "": no folder is known to be in memory.
func memoryFolder() string { return "" }
