package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// platform is what a binary is built for.
type platform struct{ os, arch string }

func (r *release) platforms() []platform {
	all := []platform{{"darwin", "amd64"}, {"darwin", "arm64"}, {"linux", "amd64"}, {"linux", "arm64"}}
	return slices.DeleteFunc(all, func(p platform) bool { return r.only != "" && r.only != p.os+"/"+p.arch })
}

// linuxes are the Linux platforms, for which there are packages and the image.
func (r *release) linuxes() []platform {
	return slices.DeleteFunc(r.platforms(), func(p platform) bool { return p.os != "linux" })
}

func (r *release) binary(p platform) string {
	return filepath.Join(r.work, "outboxd-"+p.os+"-"+p.arch)
}

// buildAll builds the binaries, without cgo, so those for Linux are static. Each
// binary contains the time zones, because the image has no file of time zones.
func (r *release) buildAll() error {
	for _, p := range r.platforms() {
		environ := []string{"CGO_ENABLED=0", "GOOS=" + p.os, "GOARCH=" + p.arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT="}
		flags := fmt.Sprintf("-s -w -X main.version=%s -X main.commit=%s -X main.date=%s", r.version, r.commit, r.time.Format(time.RFC3339))
		cmd := r.command(environ, "go", "build", "-trimpath", "-buildvcs=false", "-tags=timetzdata", "-ldflags="+flags, "-o", r.binary(p), ".")
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build for %s on %s: %w", p.os, p.arch, err)
		}
	}
	return nil
}

// extra returns the path of a file that makeExtras has made.
func (r *release) extra(name string) string { return filepath.Join(r.work, "extra", name) }

// makeExtras makes the files that are shipped with each binary: the licences and the
// shell completions. makeExtras runs the binary that was built for this machine.
func (r *release) makeExtras() error {
	if err := os.MkdirAll(filepath.Join(r.work, "extra"), 0o755); err != nil {
		return err
	}
	host := r.binary(platform{runtime.GOOS, runtime.GOARCH})
	for name, args := range map[string][]string{
		"LICENSES":     {filepath.Join(r.root, ".ci/licenses"), "texts"},
		"outboxd.bash": {host, "completion", "bash"},
		"outboxd.fish": {host, "completion", "fish"},
		"_outboxd":     {host, "completion", "zsh"},
	} {
		text, err := r.command(nil, args[0], args[1:]...).Output()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(r.extra(name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
