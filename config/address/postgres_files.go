package address

import (
	"fmt"
	"os"
)

// fileParameters are the connection parameters that name a file.
var fileParameters = []string{"passfile", "servicefile", "sslcert", "sslkey", "sslrootcert"}

// FileVariables are the environment variables that name a file for connections to PostgreSQL.
var FileVariables = []string{"PGPASSFILE", "PGSERVICEFILE", "PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT"}

// fileMost is the largest size of such a file, in bytes.
const fileMost = 4 << 20

// CheckFile returns an error if a file exists, but is larger than fileMost, or is a pipe or a
// device other than /dev/null: pgx reads the file for every connection, and would wait for ever
// or fill the memory.
func CheckFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil || path == os.DevNull || info.IsDir():
		return nil //nolint:nilerr // pgx reports a file that it cannot open
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no plain file: outboxd reads it for every connection", path)
	case info.Size() > fileMost:
		return fmt.Errorf("the file %s has more than %d bytes", path, fileMost)
	default:
		return nil
	}
}

// checkFiles checks the values of the parameters of a connection that name a file.
func checkFiles(values func(parameter string) []string) error {
	for _, name := range fileParameters {
		for _, path := range values(name) {
			if err := CheckFile(path); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}
