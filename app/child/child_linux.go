package child

import "syscall"

// prepare lets the kernel send a signal to the child when this process dies, even by kill -9.
func prepare(attributes *syscall.SysProcAttr, death syscall.Signal) {
	attributes.Setpgid, attributes.Pdeathsig = true, death
}

// bindLife does nothing on Linux.
func bindLife(int, syscall.Signal) func() { return func() {} }
