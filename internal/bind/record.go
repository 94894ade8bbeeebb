//go:build linux

package bind

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/program"
)

// UserData is what became of an instance's user data. The zero value says that
// nothing is known: the instance was not started.
type UserData string

// The fates of user data. What it left running in the background goes on after
// it has ended.
const (
	UserDataNone    UserData = "none"
	UserDataRunning UserData = "running"
	UserDataEnded   UserData = "ended"
	UserDataFailed  UserData = "failed" // it was not run
	UserDataLost    UserData = "lost"   // it was running; who watched it is gone
)

// record is what was started, as it stands in the instance's folder.
type record struct {
	Boot      int64     `json:"boot"`
	Place     string    `json:"place"` // see here
	Started   time.Time `json:"started"`
	UserData  UserData  `json:"user_data"`
	ExitCode  int       `json:"exit_code,omitempty"`
	Problem   string    `json:"problem,omitempty"`
	Unlimited []string  `json:"unlimited,omitempty"`
}

const recordName = "boot.json"

func (r *record) write(dir string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode boot record: %w", err)
	}
	path := filepath.Join(dir, recordName)
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return fmt.Errorf("write boot record: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write boot record: %w", err)
	}
	return nil
}

// readRecord reports false if there is none. One that cannot be read (the
// machine stopped while it was written) is none.
func (l *Lab) readRecord(id program.InstanceID) (record, bool, error) {
	var r record
	b, err := os.ReadFile(filepath.Join(l.instanceDir(id), recordName))
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("read boot record: %w", err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return record{}, false, nil //nolint:nilerr // as good as absent: see above
	}
	return r, true, nil
}

func removeRecord(dir string) error {
	err := os.Remove(filepath.Join(dir, recordName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove boot record: %w", err)
	}
	return nil
}

// here names this boot of the host and the instance's namespace in it: what was
// started elsewhere is not running any more.
func (l *Lab) here(id program.InstanceID) (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	space, err := spaceOf(l.net.InstancePath(id))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(boot)) + "/" + space, nil
}

// spaceOf names the namespace behind a path; equal names, same namespace.
func spaceOf(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino), nil
}
