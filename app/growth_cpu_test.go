package app_test

import (
	"os"
	"time"

	"github.com/prometheus/procfs"
)

// ticks is how many units of time Linux counts in a second for each process.
const ticks = 100

// cpuUse is processor time up to one moment. All fields are 0 on a system without Linux's /proc.
type cpuUse struct {
	programs map[string]time.Duration // of this process and its descendants, by the name of the program
	own      time.Duration            // of all programs together
	machine  time.Duration            // of everything that runs on the machine, and what the host took from it
}

// readCPU reads the processor time of the test's process and of its descendants. Parents have the time of
// children that have ended.
func readCPU() cpuUse {
	use := cpuUse{programs: map[string]time.Duration{}}
	all, err := procfs.AllProcs()
	if err != nil {
		return use
	}
	self := os.Getpid()
	stats := make(map[int]procfs.ProcStat, len(all))
	for _, process := range all {
		if stat, err := process.Stat(); err == nil {
			stats[process.PID] = stat
		}
	}
	for pid, stat := range stats {
		ancestor := pid
		for ancestor != self && ancestor > 1 {
			ancestor = stats[ancestor].PPID
		}
		if ancestor != self {
			continue
		}
		name := stat.Comm
		switch {
		case pid == self:
			name = growthSelf
		case stat.PPID == self && stat.Comm == stats[self].Comm:
			name = growthRelay
		}
		spent := time.Duration(int(stat.UTime)+int(stat.STime)+stat.CUTime+stat.CSTime) * time.Second / ticks
		use.programs[name] += spent
		use.own += spent
	}
	if fs, err := procfs.NewDefaultFS(); err == nil {
		if machine, err := fs.Stat(); err == nil {
			c := machine.CPUTotal // Guest time is a part of User
			use.machine = time.Duration((c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal) * float64(time.Second))
		}
	}
	return use
}

// since returns what was used after an earlier moment.
func (c cpuUse) since(before cpuUse) cpuUse {
	used := cpuUse{map[string]time.Duration{}, c.own - before.own, c.machine - before.machine}
	for name, spent := range c.programs {
		used.programs[name] = spent - before.programs[name]
	}
	return used
}
