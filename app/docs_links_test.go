package app_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
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

// TestPagesAreShort bounds the pages below docs: 160 lines beside their code blocks, of at most 100
// columns. Tables and lines without a space may be wider. The generated pages configuration.md and
// json.md may be longer and wider.
func TestPagesAreShort(t *testing.T) {
	t.Parallel()
	for _, file := range documents(t) {
		if !strings.HasPrefix(file, "../docs/") || strings.HasSuffix(file, "/configuration.md") || strings.HasSuffix(file, "/json.md") {
			continue
		}
		lines := strings.Split(readDocument(t, file), "\n")
		if len(lines) > 160 {
			t.Errorf("%s has %d lines: split it by subject", file, len(lines))
		}
		for _, line := range lines {
			if utf8.RuneCountInString(line) > 100 && !strings.HasPrefix(line, "|") && strings.Contains(line, " ") {
				t.Errorf("%s has a line of more than 100 columns: %s", file, line)
			}
		}
	}
}

// TestPagesAreIndexed wants a link to each page below docs: in docs/README.md, or in the index of
// the runbook or of the notes.
func TestPagesAreIndexed(t *testing.T) {
	t.Parallel()
	linked := map[string]bool{}
	for _, index := range []string{"../docs/README.md", "../docs/guides/runbook/README.md", "../docs/notes/README.md"} {
		for _, link := range markdownLink.FindAllStringSubmatch(readDocument(t, index), -1) {
			name, _, _ := strings.Cut(link[1], "#")
			linked[filepath.Join(filepath.Dir(index), name)] = true
		}
	}
	for _, file := range documents(t) {
		if strings.HasPrefix(file, "../docs/") && !strings.Contains(file, "/examples/") && file != "../docs/README.md" && !linked[file] {
			t.Errorf("no index leads to %s", file)
		}
	}
}
