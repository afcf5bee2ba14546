package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"

	"outboxd/app/child"
)

// Account is the result of outboxd verify, which accounts for every event that
// was emitted.
type Account struct {
	Code       int // with which the command ended
	Emitted    int // events
	Confirmed  int // of which outboxd knows that they took effect
	Violations []string
	Complaints string // what the command wrote to stderr
}

// OK reports whether the account adds up.
func (a *Account) OK() bool { return a.Code == 0 && len(a.Violations) == 0 }

// String implements fmt.Stringer.
func (a *Account) String() string {
	if a.OK() {
		return fmt.Sprintf("outboxd verify: %d events emitted, %d confirmed, every one accounted for", a.Emitted, a.Confirmed)
	}
	violations := a.Violations[:min(len(a.Violations), examples)]
	return strings.TrimSpace(fmt.Sprintf("outboxd verify: it ended with %d, and says:\n%s\n%s", a.Code, strings.Join(violations, "\n"), a.Complaints))
}

// verify runs outboxd verify. No other process may be running. It returns an error
// if the command did not finish or printed no JSON; missing events are not an error.
func verify(ctx context.Context, o Options) (*Account, error) {
	cmd := o.Commands.Outboxd("verify", "-o", "json")
	cmd.Dir = o.Folder
	cmd.Env = append(cmd.Env, "OUTBOXD_DATABASE_URL="+o.Servers.AdminDatabase, "OUTBOXD_REDIS_URL="+o.Servers.AdminRedis)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	p, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, fmt.Errorf("start outboxd verify: %w", err)
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		_ = p.Signal(syscall.SIGKILL)
		<-p.Done()
		return nil, fmt.Errorf("wait for outboxd verify: %w", ctx.Err())
	}
	account := &Account{Complaints: stderr.String()}
	if exit, failed := errors.AsType[*exec.ExitError](p.Err()); failed {
		account.Code = exit.ExitCode()
	} else if p.Err() != nil {
		return nil, fmt.Errorf("run outboxd verify: %w", p.Err())
	}
	var printed struct {
		Account []struct {
			Emitted   int `json:"emitted"`
			Confirmed int `json:"confirmed"`
		} `json:"account"`
		Violations []struct {
			ID     string `json:"id"`
			Broken string `json:"broken"`
			Detail string `json:"detail"`
		} `json:"violations"`
	}
	if err := json.Unmarshal(stdout.Bytes(), &printed); err != nil {
		return nil, fmt.Errorf("read what outboxd verify printed: %w\n%s", err, account.Complaints)
	}
	for _, line := range printed.Account {
		account.Emitted += line.Emitted
		account.Confirmed += line.Confirmed
	}
	for _, v := range printed.Violations {
		account.Violations = append(account.Violations, fmt.Sprintf("%s: %s %s", v.Broken, v.ID, v.Detail))
	}
	return account, nil
}
