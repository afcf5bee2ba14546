package postgresql

import (
	"strings"
	"testing"
)

func TestParsePostgresVersion(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]installation{
		"postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n": {major: 15, minor: 13, version: "15.13"},
		"postgres (PostgreSQL) 18beta1\n":                        {major: 18, version: "18beta1"},
		"postgres (PostgreSQL) 9.6.24\n":                         {major: 9, minor: 6, version: "9.6.24"},
		"PostgreSQL 14.0":                                        {major: 14, version: "14.0"},
	} {
		if got, err := parsePostgresVersion(line); err != nil || got != want {
			t.Errorf("%q gives %+v, %v", line, got, err)
		}
	}
	if _, err := parsePostgresVersion("redis 7"); err == nil {
		t.Error("a version out of nothing")
	}
}

func FuzzParsePostgresVersion(f *testing.F) {
	f.Add("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n")
	f.Add("postgres (PostgreSQL) 18devel")
	f.Fuzz(func(t *testing.T, line string) {
		got, err := parsePostgresVersion(line)
		if err == nil && (got.major < 0 || got.version == "" || !strings.Contains(line, got.version)) {
			t.Errorf("%q gives %+v", line, got)
		}
	})
}

func TestChooseInstallation(t *testing.T) {
	t.Parallel()
	several := []installation{
		{folder: "/12", major: 12, version: "12.1"},
		{folder: "/15", major: 15, minor: 2, version: "15.2"},
		{folder: "/15b", major: 15, minor: 13, version: "15.13"},
		{folder: "/17", major: 17, version: "17.0"},
	}
	cases := map[string]struct {
		found []installation
		major int
		want  string // folder, or part of the error
	}{
		"newest for new data":         {several, 0, "/17"},
		"newest of the data's major":  {several, 15, "/15b"},
		"not another major":           {several, 16, "was made with PostgreSQL 16, and only 12.1 in /12, 15.2 in /15"},
		"too old for new data":        {several[:1], 0, "PostgreSQL 13 or newer is needed"},
		"nothing there":               {nil, 0, "no PostgreSQL server is installed"},
		"nothing there for this data": {nil, 15, "postgresql@15"},
	}
	for name, c := range cases {
		got, err := chooseInstallation(c.found, c.major)
		if err != nil && !strings.Contains(err.Error(), c.want) || err == nil && got.folder != c.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
