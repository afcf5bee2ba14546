package keeper

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ProgramOf returns the name of a process's program; empty if the process is gone, or dead and not
// yet reaped.
func ProgramOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The name is in parentheses and may itself contain parentheses. The state follows the last closing parenthesis.
	begin, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if begin < 0 || end < begin || len(stat) < end+3 || stat[end+2] == 'Z' || stat[end+2] == 'X' {
		return ""
	}
	if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
		return filepath.Base(strings.TrimSuffix(program, " (deleted)"))
	}
	return string(stat[begin+1 : end])
}
