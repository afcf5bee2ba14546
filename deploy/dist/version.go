package main

import (
	"regexp"
	"strings"
)

// described is what git says of a commit behind a tag: the tag, how many commits
// behind it, which commit, and whether files were changed.
var described = regexp.MustCompile(`^v?(\d+\.\d+\.\d+(?:-[0-9A-Za-z.]+?)?)(?:-(\d+)-(g[0-9a-f]+))?(-dirty)?$`)

// packageVersion returns the version in a form that packages of both kinds can have and
// that grows with time: 1.2.3-rc.1 comes before 1.2.3 and so is 1.2.3~rc.1, and a commit
// behind 1.2.3 is 1.2.3+4.gabcdef0. Without any tag it is 0.0.0, the time, and the commit.
func (r *release) packageVersion() string {
	m := described.FindStringSubmatch(r.version)
	if m == nil {
		return "0.0.0+" + r.time.Format("20060102150405") + "." + strings.NewReplacer("-", ".", "_", ".").Replace(r.version)
	}
	version := strings.Replace(m[1], "-", "~", 1)
	if m[2] != "" {
		version += "+" + m[2] + "." + m[3]
	}
	if m[4] != "" {
		version += "+dirty"
	}
	return version
}
