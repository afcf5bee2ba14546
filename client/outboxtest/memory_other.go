//go:build !linux

package outboxtest

// memoryDir returns "": no folder is known to be in memory.
func memoryDir() string { return "" }
