package child

import "syscall"

// prepare makes the kernel send a signal to the child when this process dies, even if kill -9 ends this process.
func prepare(attributes *syscall.SysProcAttr, death syscall.Signal) {
	attributes.Setpgid, attributes.Pdeathsig = true, death
}

// bindLife does nothing on Linux.
func bindLife(int, syscall.Signal) func() { return func() {} }
