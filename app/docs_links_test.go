package app_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	markdownLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	markdownHeading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	notInAnchors    = regexp.MustCompile(`[^\p{L}\p{N}\s_-]`)
	codeFence       = regexp.MustCompile("(?ms)^ *```.*?^ *```")
)

// Each link in the documents leads to a file, and to a heading if it names one.
func TestDocsLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, file := range documents(t) {
		for _, link := range markdownLink.FindAllStringSubmatch(readDocument(t, file), -1) {
			name, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(name, "://") {
				continue
			}
			target := file
			if name != "" {
				target = filepath.Join(filepath.Dir(file), name)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", file, link[1], err)
				continue
			}
			if anchor != "" && !strings.Contains(anchors(readDocument(t, target)), "\n"+anchor+"\n") {
				t.Errorf("%s links to %s: there is no such heading", file, link[1])
			}
		}
	}
}

// documents returns the paths of all documents: those at the top, and all below docs.
func documents(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d documents, %v", len(files), err)
	}
	err = filepath.WalkDir("../docs", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func readDocument(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return codeFence.ReplaceAllString(string(text), "")
}

// anchors returns the anchors of a document's headings, each on a line.
func anchors(text string) string {
	all := "\n"
	for _, heading := range markdownHeading.FindAllStringSubmatch(text, -1) {
		all += strings.ReplaceAll(strings.ToLower(notInAnchors.ReplaceAllString(heading[1], "")), " ", "-") + "\n"
	}
	return all
}
