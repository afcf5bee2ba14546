package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// entry is a file of an archive, or an empty folder if its name ends in a slash.
type entry struct {
	name string // its path in the archive
	path string // its content on disk
	text []byte // its content, where path is ""
	mode int64
	user int // whose it is; 0: root
}

// content returns what is in the file.
func (e entry) content() ([]byte, error) {
	if e.path == "" {
		return e.text, nil
	}
	return os.ReadFile(e.path)
}

// pack returns a tar archive of files and of the folders that they are in, all with
// the time of the release.
func (r *release) pack(files []entry) ([]byte, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	slices.SortFunc(files, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	made := map[string]bool{}
	for _, file := range files {
		for i, c := range file.name {
			if folder := file.name[:i]; c == '/' && !made[folder] {
				made[folder] = true
				user := 0
				if i == len(file.name)-1 {
					user = file.user
				}
				if err := w.WriteHeader(&tar.Header{
					Typeflag: tar.TypeDir, Name: folder + "/", Mode: 0o755, ModTime: r.time, Uid: user, Gid: user, Format: tar.FormatUSTAR,
				}); err != nil {
					return nil, err
				}
			}
		}
		if strings.HasSuffix(file.name, "/") {
			continue // an empty folder, which the loop above has added
		}
		text, err := file.content()
		if err != nil {
			return nil, err
		}
		if err := w.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: file.name, Mode: file.mode, Size: int64(len(text)), ModTime: r.time, Format: tar.FormatUSTAR,
		}); err != nil {
			return nil, fmt.Errorf("%s: %w", file.name, err)
		}
		if _, err := w.Write(text); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return archive.Bytes(), nil
}

// zip compresses a file with gzip. The gzip header has no file name and no time, so
// the same content gives the same bytes.
func zip(text []byte) ([]byte, error) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return zipped.Bytes(), nil
}

// archiveAll makes an archive for each platform. An archive contains one folder with
// all files.
func (r *release) archiveAll() error {
	pages, err := filepath.Glob(filepath.Join(r.root, "docs/man/*.1"))
	if err != nil || len(pages) == 0 {
		return fmt.Errorf("there are no manual pages: %w", err)
	}
	for _, p := range r.platforms() {
		top := fmt.Sprintf("outboxd-%s-%s-%s", r.version, p.os, p.arch)
		files := []entry{{name: top + "/outboxd", path: r.binary(p), mode: 0o755}}
		for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md", "outboxd.example.yaml", "deploy/outboxd@.service"} {
			files = append(files, entry{name: top + "/" + filepath.Base(name), path: filepath.Join(r.root, name), mode: 0o644})
		}
		files = append(files, entry{name: top + "/LICENSES", path: r.extra("LICENSES"), mode: 0o644})
		for _, name := range []string{"outboxd.bash", "outboxd.fish", "_outboxd"} {
			files = append(files, entry{name: top + "/completions/" + name, path: r.extra(name), mode: 0o644})
		}
		for _, page := range pages {
			files = append(files, entry{name: top + "/man/" + filepath.Base(page), path: page, mode: 0o644})
		}
		packed, err := r.pack(files)
		if err != nil {
			return err
		}
		if packed, err = zip(packed); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(r.out, top+".tar.gz"), packed, 0o644); err != nil {
			return err
		}
	}
	return nil
}
