package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"sallyport.dev/sallyport/internal/state"
	"sallyport.dev/sallyport/internal/vpc"
)

// schema is the version of the layout of keys and values.
const schema = 1

// keys makes the names of what is stored. The journal's sort before head and
// the entities' after it, so that one range from head on is the world without
// its journal.
type keys struct{ prefix string }

func (k keys) schema() string  { return k.prefix + "schema" }
func (k keys) head() string    { return k.prefix + "head" }
func (k keys) worlds() string  { return k.prefix + "w/" }
func (k keys) journal() string { return k.prefix + "event/" }

// watched is the range of the head, the schema and the entities.
func (k keys) watched() (from, to string) { return k.head(), k.prefix + "w0" }

func (k keys) entity(kind vpc.Kind, key string) string {
	return k.worlds() + string(kind) + "/" + key
}

// record is the key of a journal record; revisions are padded so that they
// sort as text.
func (k keys) record(p Position) string {
	return fmt.Sprintf("%s%020d/%08d", k.journal(), p.Revision, p.N)
}

func (k keys) parseRecord(key string) (Position, error) {
	rev, n, ok := strings.Cut(strings.TrimPrefix(key, k.journal()), "/")
	if !ok {
		return Position{}, fmt.Errorf("journal key %q is malformed", key)
	}
	r, err := strconv.ParseUint(rev, 10, 64)
	if err != nil {
		return Position{}, fmt.Errorf("journal key %q is malformed: %w", key, err)
	}
	i, err := strconv.Atoi(n)
	if err != nil {
		return Position{}, fmt.Errorf("journal key %q is malformed: %w", key, err)
	}
	return Position{state.Revision(r), i}, nil
}

// parseEntity splits an entity's key.
func (k keys) parseEntity(key string) (kind vpc.Kind, id string, err error) {
	rest, ok := strings.CutPrefix(key, k.worlds())
	name, id, sep := strings.Cut(rest, "/")
	if !ok || !sep {
		return "", "", fmt.Errorf("key %q is no entity's", key)
	}
	return vpc.Kind(name), id, nil
}

// decoder reads entities; it is made once, because its table is.
type decoder struct {
	keys  keys
	kinds map[vpc.Kind]func() vpc.Entity
}

func newDecoder(k keys) decoder { return decoder{k, state.Kinds()} }

// entity reads an entity whole or refuses it: a member that is not known here
// would be lost at the next write.
func (d decoder) entity(key string, value []byte) (vpc.Entity, error) {
	kind, id, err := d.keys.parseEntity(key)
	if err != nil {
		return nil, err
	}
	empty, ok := d.kinds[kind]
	if !ok {
		return nil, fmt.Errorf("key %q: no such kind of entity", key)
	}
	e := empty()
	if err := decodeStrict(value, e); err != nil {
		return nil, fmt.Errorf("key %q: %w", key, err)
	}
	if e.Key() != id {
		return nil, fmt.Errorf("key %q holds the entity %q", key, e.Key())
	}
	return e, nil
}

func decodeStrict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the entity")
	}
	return nil
}

// headValue is the world's revision and a mark of the commit that wrote it. By
// the mark a server recognises its own commit when the answer to it was lost.
type headValue struct {
	revision state.Revision
	mark     string
}

func (h headValue) String() string {
	return strconv.FormatUint(uint64(h.revision), 10) + " " + h.mark
}

func parseHead(value []byte) (headValue, error) {
	number, mark, ok := strings.Cut(string(value), " ")
	rev, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return headValue{}, fmt.Errorf("the head %q is malformed", value)
	}
	return headValue{state.Revision(rev), mark}, nil
}
