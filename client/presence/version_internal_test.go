package presence

import (
	"runtime/debug"
	"testing"
)

func TestVersionOfABuild(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ version, revision, modified, want string }{
		{"v1.4.2", "0123456789abcdef", "false", "v1.4.2"},
		{"(devel)", "0123456789abcdef", "false", "0123456789ab"},
		{"", "0123456789abcdef", "true", "0123456789ab+dirty"},
		{"(devel)", "0123", "false", "0123"},
		{"(devel)", "", "true", ""},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: c.version}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: c.revision}, {Key: "vcs.modified", Value: c.modified},
		}}
		if got := versionOf(info); got != c.want {
			t.Errorf("%+v is version %q", c, got)
		}
	}
}
