package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
)

// listParts writes the SBOM, in the form of CycloneDX: every module in the binary, its
// version, checksum and licence.
func (r *release) listParts() error {
	out := filepath.Join(r.out, "outboxd-"+r.version+".cdx.json")
	return r.command([]string{"GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=-tags=timetzdata"}, r.sbom,
		"app", "-json", "-licenses", "-std", "-noserial", "-notimestamp", "-main", ".", "-output", out, ".").Run()
}

// sum writes the checksums in the form of sha256sum.
func (r *release) sum() error {
	all, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var sums bytes.Buffer
	for _, file := range all {
		text, err := os.ReadFile(filepath.Join(r.out, file.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(text), file.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), sums.Bytes(), 0o644)
}
