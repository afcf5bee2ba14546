package consumer

import "outboxd/client/presence"

// RunOption changes what Run does.
type RunOption func(*runOptions)

type runOptions struct{ version string }

// Version names the release that runs, for outboxd's list of workers. Without this option, it is the
// version of the program's main module. If the build has none, it is the revision of the source, such
// as 3f2a9c01b7de, or 3f2a9c01b7de+dirty if changes were not committed. At most 100 bytes are shown.
func Version(version string) RunOption {
	return func(o *runOptions) { o.version = version }
}

func versionIn(options []RunOption) string {
	o := runOptions{version: presence.BuildVersion()}
	for _, option := range options {
		option(&o)
	}
	return o.version
}
