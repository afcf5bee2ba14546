package postgrestest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Tool runs a program of PostgreSQL, such as pg_dump, on the database at address, and returns the output. The program
// has the same version as the server. Arguments such as PGOPTIONS=… at the beginning become environment variables. Tool
// fails the test if the program fails.
func Tool(t testing.TB, address, program string, args ...string) string {
	t.Helper()
	config, err := pgx.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	var environment []string
	for len(args) > 0 && strings.HasPrefix(args[0], "PG") {
		environment, args = append(environment, args[0]), args[1:]
	}
	command := exec.CommandContext(t.Context(), filepath.Join(binaries(t, address), program), args...)
	command.Dir = "/" // the program's account may not be able to enter ours
	command.Env = append(os.Environ(), "PGHOST="+config.Host, "PGPORT="+strconv.Itoa(int(config.Port)), "PGUSER="+config.User, "PGDATABASE="+config.Database)
	command.Env = append(command.Env, environment...)
	var said strings.Builder
	command.Stderr = &said
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", program, strings.Join(args, " "), err, said.String())
	}
	return string(output)
}

// binaries returns the folder with the programs of the server's version.
func binaries(t testing.TB, address string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var folder string
	if err := conn.QueryRow(t.Context(), "SELECT setting FROM pg_config WHERE name = 'BINDIR'").Scan(&folder); err != nil {
		t.Fatalf("ask for the server's programs: %v", err)
	}
	return folder
}
