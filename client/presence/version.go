package presence

import "runtime/debug"

// revisionLength is how many characters of a revision identify it.
const revisionLength = 12

// BuildVersion returns the version of the program's main module, such as v1.4.2. If the build has none, BuildVersion
// returns the first 12 characters of the revision, with "+dirty" if the source had changes that were not
// committed. It returns "" if the build has neither.
func BuildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return versionOf(info)
	}
	return ""
}

func versionOf(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	revision := settings["vcs.revision"]
	revision = revision[:min(len(revision), revisionLength)]
	if revision != "" && settings["vcs.modified"] == "true" {
		revision += "+dirty"
	}
	return revision
}
