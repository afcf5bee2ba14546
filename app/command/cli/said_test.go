package cli_test

import (
	"testing"

	"github.com/spf13/cobra"

	"outboxd/app/command/cli"
)

func TestSaidIsWhatWasWritten(t *testing.T) {
	t.Parallel()
	cmd := &cobra.Command{}
	cmd.Flags().StringArray("not-error", nil, "")
	cmd.Flags().StringArray("not-type", nil, "")
	cmd.Flags().String("type", "", "")
	if err := cmd.ParseFlags([]string{"--type=mail:*", "--not-error=customer test-", "--not-type=a", "--not-type=b"}); err != nil {
		t.Fatal(err)
	}
	said := cli.Said(cmd, "type", "not-type", "not-error")
	if said["type"] != "mail:*" || said["not-error"] != "customer test-" || said["not-type"] != "a, b" {
		t.Errorf("said %q", said)
	}
}
