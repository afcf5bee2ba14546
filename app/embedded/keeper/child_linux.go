package keeper

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ProgramOf is the name of the program that a process runs; empty if it is gone, or dead and waiting to be reaped.
func ProgramOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The name stands in parentheses and may contain some; the state is the field behind the last one.
	begin, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if begin < 0 || end < begin || len(stat) < end+3 || stat[end+2] == 'Z' || stat[end+2] == 'X' {
		return ""
	}
	if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
		return filepath.Base(strings.TrimSuffix(program, " (deleted)"))
	}
	return string(stat[begin+1 : end])
}
