package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // packagers register themselves
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

const description = `Relay events from a PostgreSQL outbox to Asynq
 A service writes an event in the same transaction as its own rows. outboxd
 hands it to Asynq, a task queue on Redis, and to receivers over HTTP, at
 least once. The inbox lets its effect in the database happen exactly once.`

// packageAll makes a package of each kind for each architecture.
func (r *release) packageAll() error {
	for _, p := range r.linuxes() {
		for _, kind := range []string{"deb", "rpm"} {
			if err := r.makePackage(kind, p); err != nil {
				return fmt.Errorf("%s for %s: %w", kind, p.arch, err)
			}
		}
	}
	return nil
}

func (r *release) makePackage(kind string, p platform) error {
	contents, err := r.contents(kind, p)
	if err != nil {
		return err
	}
	script := func(name string) string { return filepath.Join(r.root, "deploy/dist/package", name+".sh") }
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "outboxd", Arch: p.arch, Platform: "linux", Version: r.packageVersion(), VersionSchema: "none", Release: "1",
		Section: "net", Priority: "optional", Maintainer: "The outboxd project <outboxd@localhost>", Description: description,
		License: "MIT", MTime: r.time, DisableGlobbing: true,
		Overridables: nfpm.Overridables{
			Contents: contents,
			Scripts:  nfpm.Scripts{PostInstall: script("postinstall"), PreRemove: script("preremove"), PostRemove: script("postremove")},
			RPM:      nfpm.RPM{BuildHost: "localhost", Group: "System Environment/Daemons", Summary: strings.SplitN(description, "\n", 2)[0]},
		},
	})
	if kind == "deb" {
		info.Recommends, info.Suggests = []string{"ca-certificates"}, []string{"postgresql", "redis-server"}
	}
	if err := nfpm.PrepareForPackager(info, kind); err != nil {
		return err
	}
	packager, err := nfpm.Get(kind)
	if err != nil {
		return err
	}
	var made bytes.Buffer
	if err := packager.Package(info, &made); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, packager.ConventionalFileName(info)), made.Bytes(), 0o644)
}

// contents lists the files of a package. Files that are made for the package are
// first written to a folder of their own.
func (r *release) contents(kind string, p platform) (files.Contents, error) {
	zsh := "/usr/share/zsh/site-functions/_outboxd"
	if kind == "deb" {
		zsh = "/usr/share/zsh/vendor-completions/_outboxd"
	}
	add := func(list files.Contents, source, destination, kind string, mode os.FileMode) files.Contents {
		return append(list, &files.Content{
			Source: source, Destination: destination, Type: kind,
			FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode, MTime: r.time},
		})
	}
	list := add(nil, r.binary(p), "/usr/bin/outboxd", files.TypeFile, 0o755)
	// Only root may read the file of variables, which systemd reads. The package's
	// scripts let the user outboxd read the other file.
	list = add(list, "", "/etc/outboxd", files.TypeDir, 0o755)
	list = add(list, r.source("deploy/dist/package/outboxd.env"), "/etc/outboxd/outboxd.env", files.TypeConfigNoReplace, 0o600)
	list = add(list, r.source("outboxd.example.yaml"), "/etc/outboxd/outboxd.yaml", files.TypeConfigNoReplace, 0o640)
	list = add(list, r.source("deploy/dist/package/sysusers.conf"), "/usr/lib/sysusers.d/outboxd.conf", files.TypeFile, 0o644)
	unit, err := r.unit()
	if err != nil {
		return nil, err
	}
	list = add(list, unit, "/usr/lib/systemd/system/outboxd@.service", files.TypeFile, 0o644)
	list = add(list, r.extra("outboxd.bash"), "/usr/share/bash-completion/completions/outboxd", files.TypeFile, 0o644)
	list = add(list, r.extra("outboxd.fish"), "/usr/share/fish/vendor_completions.d/outboxd.fish", files.TypeFile, 0o644)
	list = add(list, r.extra("_outboxd"), zsh, files.TypeFile, 0o644)
	copyright, err := r.copyright()
	if err != nil {
		return nil, err
	}
	list = add(list, copyright, "/usr/share/doc/outboxd/copyright", files.TypeFile, 0o644)
	for _, name := range []string{
		"README.md", "CHANGELOG.md", "deploy/postgres/roles.sql", "deploy/postgres/grants.sql", "deploy/postgres/policies.sql",
		"deploy/postgres/restored.sql", "deploy/prometheus/alerts.yaml", "deploy/grafana/outboxd.json",
	} {
		list = add(list, r.source(name), "/usr/share/doc/outboxd/"+filepath.Base(name), files.TypeFile, 0o644)
	}
	pages, err := filepath.Glob(r.source("docs/man/*.1"))
	if err != nil {
		return nil, err
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			return nil, err
		}
		if text, err = zip(text); err != nil {
			return nil, err
		}
		made := r.extra(filepath.Base(page) + ".gz")
		if err := os.WriteFile(made, text, 0o644); err != nil {
			return nil, err
		}
		list = add(list, made, "/usr/share/man/man1/"+filepath.Base(made), files.TypeFile, 0o644)
	}
	return list, nil
}

func (r *release) source(name string) string { return filepath.Join(r.root, name) }

// unit makes the package's systemd unit from the unit in the source tree, with the
// paths that a package uses.
func (r *release) unit() (string, error) {
	text, err := os.ReadFile(r.source("deploy/outboxd@.service"))
	if err != nil {
		return "", err
	}
	unit := string(text)
	for _, change := range [][2]string{
		{"ExecStart=/usr/local/bin/outboxd", "ExecStart=/usr/bin/outboxd"},
		{"Environment=OUTBOXD_ROLES=%i", "Environment=OUTBOXD_CONFIG=/etc/outboxd/outboxd.yaml OUTBOXD_ROLES=%i"},
	} {
		if strings.Count(unit, change[0]) != 1 {
			return "", fmt.Errorf("the unit has no line %s", change[0])
		}
		unit = strings.Replace(unit, change[0], change[1], 1)
	}
	path := r.extra("outboxd@.service")
	return path, os.WriteFile(path, []byte(unit), 0o644)
}

// copyright joins the licence of outboxd and the licences of all modules in the
// binary.
func (r *release) copyright() (string, error) {
	var all []byte
	for _, name := range []string{r.source("LICENSE"), r.extra("LICENSES")} {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		all = append(append(all, text...), '\n')
	}
	path := r.extra("copyright")
	return path, os.WriteFile(path, all, 0o644)
}
