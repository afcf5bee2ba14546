package main

import (
	"regexp"
	"strings"
)

// described matches what git describe prints for a commit after a tag: the tag, the
// number of commits since the tag, the commit, and whether files were changed.
var described = regexp.MustCompile(`^v?(\d+\.\d+\.\d+(?:-[0-9A-Za-z.]+?)?)(?:-(\d+)-(g[0-9a-f]+))?(-dirty)?$`)

// packageVersion returns the version in a form that is valid in both kinds of package
// and in which later versions sort later. So 1.2.3-rc.1, which comes before 1.2.3,
// becomes 1.2.3~rc.1, and a commit after 1.2.3 becomes 1.2.3+4.gabcdef0. Without any
// tag the version is 0.0.0, the time, and the commit.
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
