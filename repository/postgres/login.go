package postgres

import (
	"github.com/jackc/pgx/v5"
)

// login reads again, for each new connection, what may have changed since the URL was
// read: the password file, libpq's password file (.pgpass) and the certificates.
//
// Errors: domain.CodeInvalid if a file cannot be read.
func (s *session) login(config *pgx.ConnConfig) error {
	fresh, err := pgx.ParseConfig(config.ConnString())
	if err != nil {
		return unreadableURL(err)
	}
	config.Password = fresh.Password
	// Fallbacks has the other hosts, and the same hosts with and without TLS.
	config.TLSConfig, config.Fallbacks = fresh.TLSConfig, fresh.Fallbacks
	if s.password == "" || config.Password != "" && config.ConnString() != s.url {
		return nil
	}
	config.Password, err = s.password.Read()
	return err
}
