package servertest

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The folder in memory must have room for the servers of several test binaries at once.
const enoughMemory = 4 << 30

// memoryFolder returns a folder whose files are in memory; "" if there is none, it is too small, or
// programs in it cannot be started.
func memoryFolder() string {
	const folder = "/dev/shm"
	var found unix.Statfs_t
	if err := unix.Statfs(folder, &found); err != nil || found.Type != unix.TMPFS_MAGIC {
		return ""
	}
	if found.Flags&unix.ST_NOEXEC != 0 || int64(found.Bavail)*found.Bsize < enoughMemory || availableMemory() < 2*enoughMemory {
		return ""
	}
	return folder
}

// availableMemory returns how many bytes programs can still take without swapping; 0: not known. A container may have
// less, by the limit of its control group.
func availableMemory() int64 {
	var available int64
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "MemAvailable:" {
			kilobytes, _ := strconv.ParseInt(fields[1], 10, 64) // 0: not known
			available = kilobytes << 10
		}
	}
	for _, limit := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(limit)
		if err != nil {
			continue
		}
		if bytes, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil { // "max": no limit
			available = min(available, bytes)
		}
	}
	return available
}
