package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"outboxd/domain/words"
)

// WriteExport calls the function write with the command's standard output. If that
// succeeds, WriteExport says on standard error how many rows were written.
func WriteExport(cmd *cobra.Command, write func(ctx context.Context, w io.Writer) (int64, error)) error {
	w := bufio.NewWriter(cmd.OutOrStdout())
	n, err := write(cmd.Context(), w)
	if flushed := w.Flush(); err == nil {
		err = flushed
	}
	if err == nil {
		fmt.Fprintln(cmd.ErrOrStderr(), words.Many(n, "row"))
	}
	return err
}
