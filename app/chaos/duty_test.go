package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// dutyVariable holds what a process of this package's own has to do. Its name does not begin with
// OUTBOXD_, because outboxd takes such a variable for a setting.
const dutyVariable = "CHAOS_DUTY"

// duty is what one process has to do. Exactly one field is set.
type duty struct {
	Producer *producerDuty `json:",omitempty"`
	Worker   *workerDuty   `json:",omitempty"`
	Consumer *consumerDuty `json:",omitempty"`
}

func own(o Options, d duty) (*exec.Cmd, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("write down a process's duty: %w", err)
	}
	cmd := o.Commands.Own()
	cmd.Dir = o.Folder
	cmd.Env = append(cmd.Env, dutyVariable+"="+string(text))
	return cmd, nil
}

// HasDuty reports whether this process was started to call Main.
func HasDuty() bool { return os.Getenv(dutyVariable) != "" }

// Main is the whole life of a process that Commands.Own returned: of a worker, a producer or a
// consumer. Main returns the exit code.
func Main(stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var d duty
	err := json.Unmarshal([]byte(os.Getenv(dutyVariable)), &d)
	switch {
	case err != nil:
	case d.Producer != nil:
		err = d.Producer.run(ctx)
	case d.Worker != nil:
		err = d.Worker.run(ctx, stderr)
	case d.Consumer != nil:
		err = d.Consumer.run(ctx, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}
