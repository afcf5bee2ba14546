package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// nonroot is the image's user. nonroot is a number because Kubernetes' runAsNonRoot
// does not accept names of users.
const nonroot = "65532:65532"

// makeImage writes an OCI image for all architectures as one archive, which podman,
// skopeo, containerd and docker can load.
func (r *release) makeImage() error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range r.linuxes() {
		image, err := r.image(p)
		if err != nil {
			return fmt.Errorf("for %s: %w", p.arch, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.os, Architecture: p.arch}},
		})
	}
	folder := filepath.Join(r.work, "image")
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": r.version})); err != nil {
		return err
	}
	var files []entry
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, entry{name: strings.TrimPrefix(path, folder+"/"), path: path, mode: 0o644})
		}
		return err
	})
	if err != nil {
		return err
	}
	packed, err := r.pack(files)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, "outboxd-"+r.version+"-image.tar"), packed, 0o644)
}

// image is the image of one architecture: the binary, the certificates of public
// authorities, a user and the licences. The time zones are in the binary.
func (r *release) image(p platform) (v1.Image, error) {
	packed, err := r.pack([]entry{
		{name: "outboxd", path: r.binary(p), mode: 0o755},
		{name: "etc/passwd", text: []byte("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"), mode: 0o644},
		{name: "etc/group", text: []byte("root:x:0:\nnonroot:x:65532:\n"), mode: 0o644},
		{name: "etc/ssl/certs/ca-certificates.crt", text: authorities(), mode: 0o644},
		{name: "data/", user: 65532}, // for OUTBOXD_DATA_DIR=/data
		{name: "licenses/LICENSE", path: r.source("LICENSE"), mode: 0o644},
		{name: "licenses/LICENSES", path: r.extra("LICENSES"), mode: 0o644},
	})
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed)), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: r.time}, CreatedBy: "outboxd " + r.version}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = p.os, p.arch, v1.Time{Time: r.time}
	config.Config = v1.Config{
		User: nonroot, Entrypoint: []string{"/outboxd"}, WorkingDir: "/", StopSignal: "SIGTERM",
		ExposedPorts: map[string]struct{}{"5001/tcp": {}, "8081/tcp": {}, "8082/tcp": {}},
		Labels: map[string]string{
			"org.opencontainers.image.title":    "outboxd",
			"org.opencontainers.image.version":  r.version,
			"org.opencontainers.image.revision": r.commit,
			"org.opencontainers.image.created":  r.time.Format(time.RFC3339),
			"org.opencontainers.image.licenses": "MIT",
		},
	}
	return mutate.ConfigFile(image, config)
}

// authorities returns certificates of Mozilla's list. authorities leaves out
// certificates with a constraint, because a file of certificates cannot express
// constraints.
func authorities() []byte {
	var list bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&list, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes all
		}
	}
	return list.Bytes()
}
