package chaos

import (
	"context"
	"fmt"
)

// setting is a setting that an operator gives to a role or a database. No setting of this list puts
// stored data at risk, as fsync or synchronous_commit does.
type setting struct{ name, value string }

var settings = []setting{
	{"statement_timeout", "300ms"},
	{"lock_timeout", "50ms"},
	{"idle_in_transaction_session_timeout", "500ms"},
	{"DateStyle", "German"},
	{"DateStyle", "SQL, DMY"},
	{"IntervalStyle", "sql_standard"},
	{"TimeZone", "Europe/Berlin"},
	{"TimeZone", "Asia/Kathmandu"},
	{"client_encoding", "LATIN1"},
	{"bytea_output", "escape"},
	{"standard_conforming_strings", "off"},
	{"default_transaction_isolation", "serializable"},
	{"default_transaction_isolation", "repeatable read"},
	{"default_transaction_read_only", "on"},
	{"row_security", "off"},
	{"extra_float_digits", "-15"},
	{"transform_null_equals", "on"},
	{"array_nulls", "off"},
	{"plan_cache_mode", "force_generic_plan"},
	{"enable_seqscan", "off"},
	{"work_mem", "64kB"},
}

// changeSetting gives the processes' role, or their database, another setting, and
// closes their connections, so that the next ones have it.
func (i *injector) changeSetting(ctx context.Context, kind Kind, target uint64) (string, func() string, error) {
	s := settings[target>>1%uint64(len(settings))]
	whose, subject := "role", "ROLE "+fleetUser
	if target&1 == 1 {
		whose, subject = "database", "DATABASE "+i.admin.Config().ConnConfig.Database
	}
	return i.change(ctx, kind, i.servers.Postgres, fmt.Sprintf("the %s's %s = %s", whose, s.name, s.value),
		i.sql(fmt.Sprintf("ALTER %s SET %s = '%s'", subject, s.name, s.value), disconnectSQL),
		i.sql(fmt.Sprintf("ALTER %s RESET %s", subject, s.name), disconnectSQL))
}
