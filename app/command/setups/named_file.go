package setups

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"outboxd/config"
)

// readNamed reads the file that the flag -f names; "-" stands for standard input. An error
// about a missing flag names the example.
func readNamed[T any](cmd *cobra.Command, file, example string, read func(io.Reader) (T, error)) (none T, err error) {
	switch file {
	case "":
		return none, config.Mistake{Err: fmt.Errorf("say which file: -f %s, or -f - for standard input", example)}
	case "-":
		return read(cmd.InOrStdin())
	}
	f, err := os.Open(file)
	if err != nil {
		return none, config.Mistake{Err: err}
	}
	defer f.Close()
	return read(f)
}
