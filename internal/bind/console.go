//go:build linux

package bind

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sallyport.dev/sallyport/internal/program"
)

const (
	// consoleBytesMax is how much console output is kept: what EC2 keeps.
	consoleBytesMax = 64 << 10
	// consoleRateMax is how fast an instance may write to its console, in bytes
	// a second; beyond it the instance waits. A serial line does a hundredth; an
	// endless loop of output must not cost the host its disk.
	consoleRateMax = 1 << 20
	consoleName    = "console.log"
)

// Console is the instance's console output, the last 64 KiB of it over all its
// boots, and when it was last written. No output and no instance: empty.
func (l *Lab) Console(id program.InstanceID) ([]byte, time.Time, error) {
	if err := checkID(id); err != nil {
		return nil, time.Time{}, err
	}
	f, err := os.Open(filepath.Join(l.instanceDir(id), consoleName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read console: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	st, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read console: %w", err)
	}
	out, err := tail(f, st.Size())
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read console: %w", err)
	}
	return out, st.ModTime(), nil
}

func tail(f io.ReaderAt, size int64) ([]byte, error) {
	out := make([]byte, min(size, consoleBytesMax))
	_, err := f.ReadAt(out, size-int64(len(out)))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return out, err
}

// console is the file that output goes to. It is never longer than twice what is
// kept: then its second half becomes the file, in one rename.
type console struct {
	path string
	file *os.File
	size int64
}

func openConsole(dir string) (*console, error) {
	c := &console{path: filepath.Join(dir, consoleName)}
	return c, c.reopen()
}

func (c *console) reopen() error {
	f, err := os.OpenFile(c.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open console: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open console: %w", err), f.Close())
	}
	c.file, c.size = f, st.Size()
	return nil
}

// Write takes at most consoleBytesMax bytes at once.
func (c *console) Write(b []byte) (int, error) {
	if c.size+int64(len(b)) > 2*consoleBytesMax {
		if err := c.compact(); err != nil {
			return 0, err
		}
	}
	n, err := c.file.Write(b)
	c.size += int64(n)
	return n, err
}

func (c *console) compact() error {
	keep, err := tail(c.file, c.size)
	if err != nil {
		return fmt.Errorf("shorten console: %w", err)
	}
	if err := os.WriteFile(c.path+".new", keep, 0o600); err != nil {
		return fmt.Errorf("shorten console: %w", err)
	}
	if err := os.Rename(c.path+".new", c.path); err != nil {
		return fmt.Errorf("shorten console: %w", err)
	}
	if err := c.file.Close(); err != nil {
		return fmt.Errorf("shorten console: %w", err)
	}
	return c.reopen()
}

func (c *console) close() error { return c.file.Close() }

// drain copies an instance's output to the console, no faster than
// consoleRateMax, until nobody can write any more. When the console cannot be
// written (the disk is full) the output is read all the same, and lost: the
// instance goes on.
func (c *console) drain(output io.Reader) {
	buf := make([]byte, consoleBytesMax/2)
	for {
		n, err := output.Read(buf)
		_, _ = c.Write(buf[:n])
		if err != nil {
			return
		}
		time.Sleep(time.Duration(n) * time.Second / consoleRateMax)
	}
}
