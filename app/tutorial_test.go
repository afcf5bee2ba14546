package app_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"outboxd/app/servertest"
)

// A block is a code block of a document.
type block struct {
	language string
	words    []string // behind the language
	text     string
	line     int
}

var fence = regexp.MustCompile("(?ms)^ *```([^\n]*)\n(.*?)^ *```$")

func blocksOf(t *testing.T, file string) (blocks []block) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range fence.FindAllSubmatchIndex(text, -1) {
		info := strings.Fields(string(text[at[2]:at[3]]))
		if len(info) == 0 {
			info = []string{""}
		}
		blocks = append(blocks, block{info[0], info[1:], string(text[at[4]:at[5]]), 1 + strings.Count(string(text[:at[0]]), "\n")})
	}
	return blocks
}

// TestTutorial pastes the commands of the tutorial into a shell, and compares what
// they print. IDs and times may differ.
func TestTutorial(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "tut") //nolint:usetesting // t.TempDir is too long for a unix socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	tree, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "shop"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Symlink(tree, filepath.Join(dir, "outboxd"))); err != nil {
		t.Fatal(err)
	}
	programs := outboxdOnPath(t)
	tester := &pasting{t: t, dir: filepath.Join(dir, "shop"), environ: append(servertest.Environ(), processVariable+"=1",
		"PATH="+programs+":"+os.Getenv("PATH"), "OUTBOXD_MONITOR_ADDR=127.0.0.1:0", "OUTBOXD_REDIS_CHECK_INTERVAL=1s",
		"GONOSUMDB=*")} // the tests of the module client have checked the same versions
	if raceDetector() { // what these tests have compiled serves the service, too
		tester.environ = append(tester.environ, "GOFLAGS="+os.Getenv("GOFLAGS")+" -race", "CGO_ENABLED=1")
	}

	tester.open()
	for _, b := range blocksOf(t, "../docs/tutorial/your-service.md") {
		switch {
		case slices.Contains(b.words, "excerpt"):
		case slices.Contains(b.words, "stays"):
			tester.leave(b.text)
		case b.language == "sh":
			if out, status := tester.paste(b.text); status != "0" {
				t.Fatalf("line %d: status %s\n%s", b.line, status, out)
			}
		case b.language == "console":
			tester.compare(b)
		default:
			t.Errorf("line %d: a block of %q is neither run nor an excerpt", b.line, b.language)
		}
	}
}

// outboxdOnPath makes a folder with a program outboxd, which is this test binary.
func outboxdOnPath(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// The binary ends when its standard input does. A named pipe that is opened to
	// read and write has no end.
	program := fmt.Sprintf("#!/bin/bash\nexec '%s' \"$@\" 0<>'%s/stdin'\n", self, dir)
	if err := errors.Join(syscall.Mkfifo(filepath.Join(dir, "stdin"), 0o600), os.WriteFile(filepath.Join(dir, "outboxd"), []byte(program), 0o700)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// pasting is a shell that commands are pasted into.
type pasting struct {
	t       *testing.T
	dir     string
	environ []string
	in      io.Writer
	out     *bufio.Scanner
}

func (p *pasting) shell(args ...string) *exec.Cmd {
	cmd := exec.Command("bash", args...)
	cmd.Dir, cmd.Env = p.dir, p.environ
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return cmd
}

// open starts the shell. It ends, with all that it started, at the end of the test.
func (p *pasting) open() {
	p.t.Helper()
	cmd := p.shell()
	output, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if p.in, err = cmd.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.out = bufio.NewScanner(output)
}

// leave starts a command in a shell of its own, and stops it at the end of the test.
func (p *pasting) leave(text string) {
	p.t.Helper()
	cmd := p.shell("-c", "exec "+text)
	var log transcript
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if p.t.Failed() {
			p.t.Log(log.String())
		}
	})
}

// paste runs commands, and returns what they print and their status.
func (p *pasting) paste(commands string) (out, status string) {
	p.t.Helper()
	const end = "-- end of the commands: "
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*patience)
	defer cancel()
	if _, err := fmt.Fprintf(p.in, "%s\necho \"%s$?\"\n", commands, end); err != nil {
		p.t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for p.out.Scan() {
			// After the last line is sent, the scanner belongs to the next command.
			line := p.out.Text()
			select {
			case lines <- line:
			case <-ctx.Done():
				return
			}
			if strings.HasPrefix(line, end) {
				return
			}
		}
	}()
	for {
		select {
		case line, more := <-lines:
			if status, ended := strings.CutPrefix(line, end); ended || !more {
				return out, status
			}
			out += line + "\n"
		case <-ctx.Done():
			p.t.Fatalf("%s\ndoes not end; it printed\n%s", commands, out)
		}
	}
}

// compare runs the commands of a block that begin with "$ ", one by one, and compares what they
// print with the lines below them. A command that only looks is repeated until it prints those
// lines.
func (p *pasting) compare(b block) {
	p.t.Helper()
	for _, step := range strings.Split("\n"+b.text, "\n$ ")[1:] {
		command, want, _ := strings.Cut(step, "\n")
		deadline := time.Now().Add(patience)
		for {
			out, _ := p.paste(command)
			if settled(out) == settled(want) {
				break
			}
			if !strings.HasPrefix(command, "outboxd ") && !strings.Contains(command, "SELECT") && !strings.HasPrefix(command, "eval ") || time.Now().After(deadline) {
				p.t.Fatalf("line %d: $ %s\nprints\n%s\nand not\n%s", b.line, command, out, want)
			}
		}
	}
}

// settled replaces in an output what differs from run to run.
func settled(out string) string {
	for _, differs := range [][2]string{
		{`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}`, "ID"},
		{`\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?`, "TIME"},
		{`[ \t]+(\n|$)`, "$1"},
		{`(?m)^bash: line \d+: .*(Killed|Terminated) .*$`, ""},
		{`  +`, "  "},
		{`---+`, "---"},
	} {
		out = regexp.MustCompile(differs[0]).ReplaceAllString(out, differs[1])
	}
	return strings.TrimSpace(out)
}
