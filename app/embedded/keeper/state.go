package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// State is the information that the owner of a running server publishes for other processes on
// the data directory.
type State struct {
	URL       string `json:"url"`
	Owner     int    `json:"owner"`         // process that owns the server
	PID       int    `json:"pid,omitempty"` // the server's own process, 0 if it lives inside the owner
	Version   string `json:"version"`
	Data      string `json:"data"`
	Shell     string `json:"shell"` // command that opens a shell on the server
	Forgetful bool   `json:"forgetful,omitempty"`
}

// publish writes the state atomically.
func (f *Folder) publish(name string, s State) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode state of %s: %w", name, err)
	}
	file, err := os.CreateTemp(f.Path, name+".json.*")
	if err != nil {
		return fmt.Errorf("publish state of %s: %w", name, err)
	}
	_, err = file.Write(append(text, '\n'))
	err = errors.Join(err, f.give(file), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), f.File(name+".json"))
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return fmt.Errorf("publish state of %s: %w", name, err)
	}
	return nil
}

// published reads the State that the owner of a server has published; false if there is no
// usable one.
func (f *Folder) published(name string) (State, bool) {
	text, err := os.ReadFile(f.File(name + ".json"))
	if err != nil {
		return State{}, false
	}
	return parseState(text)
}

func parseState(text []byte) (State, bool) {
	var s State
	if json.Unmarshal(text, &s) != nil || s.URL == "" || s.PID < 0 {
		return State{}, false
	}
	return s, true
}

func (f *Folder) withdraw(name string) error {
	if err := os.Remove(f.File(name + ".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("withdraw state of %s: %w", name, err)
	}
	return nil
}

// holder returns which process took a server's lock last, for an error message.
func (f *Folder) holder(name string) string {
	text, err := os.ReadFile(f.File(name + ".owner"))
	if pid := strings.TrimSpace(string(text)); err == nil && pid != "" {
		return "pid " + pid
	}
	return "pid unknown"
}

// Published returns the state that the owner of the server called name has published on a data
// directory; false if there is none. Published changes nothing, and does not ask the server: after
// kill -9 of the owner, the state is there although the server has ended.
func Published(dataDir, name string) (State, bool) { return (&Folder{Path: dataDir}).published(name) }
