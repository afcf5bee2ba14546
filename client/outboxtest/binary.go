package outboxtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
)

// findBinary looks for the binary once per process. These variables keep the result.
var (
	finding sync.Once
	found   string
	findErr error
)

func findBinary(ctx context.Context) (string, error) {
	finding.Do(func() { found, findErr = locate(context.WithoutCancel(ctx)) })
	return found, findErr
}

func locate(ctx context.Context) (string, error) {
	if named := os.Getenv("OUTBOXD_BIN"); named != "" {
		return filepath.Abs(named)
	}
	if tree, ok := ownTree(); ok {
		return build(ctx, tree)
	}
	if path, err := exec.LookPath("outboxd"); err == nil {
		return filepath.Abs(path)
	}
	return "", errors.New("there is no outboxd to test with: set OUTBOXD_BIN to the binary, or put it on the PATH")
}

// ownTree returns the root of outboxd's source tree if this package was compiled
// from such a tree, for example through a replace directive in go.mod.
func ownTree() (string, bool) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "", false
	}
	tree := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	for _, part := range []string{"go.mod", "main.go", "migrations"} {
		if _, err := os.Stat(filepath.Join(tree, part)); err != nil {
			return "", false
		}
	}
	return tree, true
}

// build builds the binary into a cache folder. If nothing has changed, the go
// command does not build it again.
func build(ctx context.Context, tree string) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(cache, "build.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	binary := filepath.Join(cache, "outboxd")
	command := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, ".")
	command.Dir = tree
	command.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if os.Getenv("CGO_ENABLED") == "" { // keep a value that is set: other builds use it too, and the build cache has their packages
		command.Env = append(command.Env, "CGO_ENABLED=0")
	}
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build outboxd in %s: %w\n%s", tree, err, output)
	}
	return binary, nil
}

// cacheDir returns the folder for the built binary. The folder stays after the
// tests, and each source tree has its own folder.
func cacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = filepath.Join(os.TempDir(), fmt.Sprintf("cache-%d", os.Getuid()))
	}
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Join(cache, "outboxd-test", fmt.Sprintf("%x", digest(file)))
	return dir, os.MkdirAll(dir, 0o700)
}
