//go:build linux

// Package host puts this machine's side together, for the two programs that
// have one: the VPC networks, the lab and the datapath of one installation. It
// only wires; each part is a room of its own.
//
// An installation is known by its data folder: everything it makes on the
// machine carries the folder's tag, so that several never touch each other's.
package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/internal/bind"
	"sallyport.dev/sallyport/internal/datapath"
	"sallyport.dev/sallyport/internal/vpcnet"
)

// Folder is where a host's side keeps what it keeps, inside the data folder.
const Folder = "lab"

// tagDigits keep two installations of one machine apart.
const tagDigits = 6

// ErrRunning says that another process is this installation's host side.
var ErrRunning = errors.New("it is running")

// Host is this machine's side of one installation.
type Host struct {
	Tag    string
	PinDir string
	Fabric *vpcnet.Fabric
	Lab    *bind.Lab
	dir    string
	log    *slog.Logger
}

// Open prepares the host's side of the installation in data. It touches nothing yet.
func Open(data string, log *slog.Logger) (*Host, error) {
	full, err := filepath.Abs(data)
	if err != nil {
		return nil, fmt.Errorf("finding the data folder: %w", err)
	}
	if real, err := filepath.EvalSymlinks(full); err == nil {
		full = real
	}
	sum := sha256.Sum256([]byte(full))
	h := &Host{Tag: hex.EncodeToString(sum[:])[:tagDigits], dir: filepath.Join(full, Folder), log: log}
	h.PinDir = filepath.Join(datapath.PinDirDefault, h.Tag)
	h.Fabric = vpcnet.New(log, vpcnet.Options{Prefix: "sp-" + h.Tag + "-"})
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	h.Lab, err = bind.NewLab(bind.Options{
		StateDir: h.dir, SelfExe: self, Cgroup: "sallyport-" + h.Tag, Net: h.Fabric, Log: log,
	})
	return h, err
}

// Lock makes this process the installation's host side until it ends; the
// result gives it back.
func (h *Host) Lock() (release func(), err error) {
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the host's folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(h.dir, "host.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the host's lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrRunning
		}
		return nil, fmt.Errorf("locking the host's folder: %w", err)
	}
	return func() { _ = f.Close() }, nil // closing unlocks; nothing was written
}

// Datapath opens the kernel's side.
func (h *Host) Datapath() (*datapath.Datapath, error) {
	return datapath.Open(datapath.Options{PinDir: h.PinDir, Log: h.log})
}

// Remove removes every trace of the installation on this machine but its data.
func (h *Host) Remove() error {
	if err := h.Lab.RemoveAll(); err != nil {
		return fmt.Errorf("removing the lab: %w", err)
	}
	if _, err := os.Stat(h.PinDir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	d, err := h.Datapath()
	if err != nil {
		return fmt.Errorf("opening what is pinned: %w", err)
	}
	return errors.Join(d.Remove(), d.Close())
}
