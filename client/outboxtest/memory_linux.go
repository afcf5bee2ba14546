package outboxtest

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"syscall"
)

const (
	tmpfs  = 0x01021994 // the type of a file system in memory
	noexec = 0x8        // its flag: no program in it can be started
	// The folder must have room for the servers of several test binaries at once.
	enoughMemory = 4 << 30
)

// memoryDir returns a folder whose files are in memory. It returns "" if there is no such folder, if the folder is
// mounted noexec, or if the folder or the available memory is too small.
func memoryDir() string {
	const dir = "/dev/shm"
	var found syscall.Statfs_t
	if err := syscall.Statfs(dir, &found); err != nil || found.Type != tmpfs || found.Flags&noexec != 0 {
		return ""
	}
	if int64(found.Bavail)*found.Bsize < enoughMemory || availableMemory() < 2*enoughMemory {
		return ""
	}
	return dir
}

// availableMemory returns how many bytes of memory programs can still allocate without swapping; 0: not known. In
// a container the result is at most the limit of its control group.
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
