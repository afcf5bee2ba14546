package costing

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// postgresCPU returns the processor time that all processes of a PostgreSQL have used, in
// µs. pid is the process ID of a connection to that PostgreSQL, and database is the
// connection's database. The time is 0 if PostgreSQL runs on another machine, or if this
// machine has no /proc.
func postgresCPU(pid int, database string) float64 {
	title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.HasPrefix(string(title), "postgres") || !strings.Contains(string(title), " "+database+" ") {
		return 0
	}
	parent := readStat(pid).parent
	total := readStat(parent)
	micros := total.own + total.ended
	folders, _ := filepath.Glob("/proc/[0-9]*") // the pattern is valid
	for _, folder := range folders {
		child, _ := strconv.Atoi(filepath.Base(folder))
		if stat := readStat(child); stat.parent == parent && parent > 1 {
			micros += stat.own
		}
	}
	return micros
}

// stat is a process's line in /proc. Times are in µs.
type stat struct {
	parent     int
	own, ended float64 // of the process, and of its children that have ended
}

// readStat returns the zero value if there is no such process.
func readStat(pid int) stat {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}
	}
	// The name of the program, in parentheses, may contain spaces.
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
	fields := strings.Fields(rest)
	const parentField, timesField, tick = 1, 11, 10_000 // tick is in µs: Linux counts in hundredths of a second
	if len(fields) < timesField+4 {
		return stat{}
	}
	var times [4]float64
	for i := range times {
		times[i], _ = strconv.ParseFloat(fields[timesField+i], 64)
	}
	parent, _ := strconv.Atoi(fields[parentField])
	return stat{parent, (times[0] + times[1]) * tick, (times[2] + times[3]) * tick}
}
