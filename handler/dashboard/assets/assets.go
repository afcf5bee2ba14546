// Package assets has the files that the pages load: style sheets, scripts and icons. The
// package serves each file at an address that changes with the file's content.
package assets

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"path"
	"sync"

	"github.com/gofiber/fiber/v2"
)

//go:embed *.css *.js *.svg htmx/*.js uplot/*.js uplot/*.css
var embedded embed.FS

const (
	css        = "text/css; charset=utf-8"
	javaScript = fiber.MIMETextJavaScriptCharsetUTF8
	svg        = "image/svg+xml"
)

// file is an embedded file that is served to browsers.
type file struct {
	mediaType string
	body      []byte
	address   string        // relative to the overview; contains a hash of body
	packed    func() []byte // returns body compressed with gzip
}

// Files are all embedded files, by their names in assets.
type Files map[string]file

// New returns all files.
func New() Files {
	all := Files{}
	for name, mediaType := range map[string]string{
		"dashboard.css":           css,
		"dashboard.js":            javaScript,
		"charts.js":               javaScript,
		"theme.js":                javaScript,
		"keys.js":                 javaScript,
		"lists.js":                javaScript,
		"icon.svg":                svg,
		"icon-warn.svg":           svg,
		"icon-bad.svg":            svg,
		"htmx/htmx.min.js":        javaScript,
		"htmx/sse.min.js":         javaScript,
		"uplot/uPlot.iife.min.js": javaScript,
		"uplot/uPlot.min.css":     css,
	} {
		body, err := embedded.ReadFile(name)
		if err != nil {
			panic(fmt.Errorf("read an embedded file: %w", err)) // a broken build
		}
		sum := sha256.Sum256(body)
		all[name] = file{
			mediaType: mediaType, body: body, packed: sync.OnceValue(func() []byte { return pack(body) }),
			address: "assets/" + hex.EncodeToString(sum[:6]) + "/" + path.Base(name),
		}
	}
	return all
}

// Paths returns the paths of all embedded files.
func Paths() (paths []string) {
	for _, f := range New() {
		paths = append(paths, "/"+f.address)
	}
	return paths
}

// Address returns the address of a file, relative to the overview. The second result is
// false if there is no such file.
func (all Files) Address(name string) (string, bool) {
	f, ok := all[name]
	return f.address, ok
}

// Serve serves the files without a sign-in, because the sign-in page needs them.
// Browsers may cache the files, because the address of a file changes with its
// content.
func (all Files) Serve(app fiber.Router) {
	for _, f := range all {
		app.Get("/"+f.address, func(c *fiber.Ctx) error {
			c.Set(fiber.HeaderContentType, f.mediaType)
			c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
			c.Vary(fiber.HeaderAcceptEncoding)
			if c.AcceptsEncodings("gzip") == "" {
				return c.Send(f.body)
			}
			c.Set(fiber.HeaderContentEncoding, "gzip")
			return c.Send(f.packed())
		})
	}
}

func pack(body []byte) []byte {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	_, _ = w.Write(body) // a buffer takes all
	_ = w.Close()
	return packed.Bytes()
}
