package ec2

import (
	"encoding/base64"
	"iter"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/apierr"
)

// depthMax bounds how deep a parameter's name can go; the deepest that means something has seven segments.
const depthMax = 16

// Decode reads the input of an action from the parameters of a request. It refuses, in this order, an action
// that does not exist (InvalidAction), a parameter that the action does not know (UnknownParameter), a value
// that is not of its type (InvalidParameterValue) and a missing required one (MissingParameter).
func Decode(action string, p Params) (Request, error) {
	a, err := Lookup(action)
	if err != nil {
		return nil, err
	}
	d := newDecoder(p.sorted)
	r := a.New()
	r.decode(d, &d.nodes[0])
	switch {
	case d.unknownName != "":
		return nil, unknownParameter(d.unknownName)
	case d.invalid != nil:
		return nil, d.invalid
	}
	if c, ok := r.(interface{ missing() string }); ok {
		if name := c.missing(); name != "" {
			return nil, apierr.New(apierr.CodeMissingParameter, "The request must contain the parameter %s", name)
		}
	}
	return r, nil
}

// node is a segment of parameter names: "Filter", its elements "1", "2", their members "Name", "Value".
type node struct {
	name        string
	param       int32 // the parameter that ends here, or none
	first       int32 // the first parameter that ends here or below
	child, next int32 // nodes; 0, the root, is no one's child
}

// none is the absence of a parameter.
const none = -1

// decoder holds the parameters as a tree, and the first error of each kind.
type decoder struct {
	params      []Param
	nodes       []node // never grows after it is made: generated code holds pointers
	unknownName string
	invalid     *apierr.Error
}

// newDecoder makes the tree. The parameters are sorted, so each one shares a prefix with the one before it and
// adds its own rest: one pass.
func newDecoder(params []Param) *decoder {
	size := 1
	for i := range params {
		size += strings.Count(params[i].Name, ".") + 1
	}
	d := &decoder{params: params, nodes: make([]node, 1, size)}
	d.nodes[0].param = none
	var room [depthMax + 1]int32
	path := room[:1] // the nodes of the parameter before, from the root
	for i := range params {
		name := params[i].Name
		if reserved(name) {
			continue
		}
		if strings.Count(name, ".") >= depthMax {
			d.unknownNamed(name)
			continue
		}
		path = d.insert(int32(i), name, path)
	}
	return d
}

// insert adds the nodes of one parameter and returns their path.
func (d *decoder) insert(i int32, name string, path []int32) []int32 {
	parent, shared := int32(0), true
	for depth := 1; ; depth++ {
		segment, rest, more := strings.Cut(name, ".")
		shared = shared && depth < len(path)
		if !shared || d.nodes[path[depth]].name != segment {
			id := int32(len(d.nodes))
			d.nodes = append(d.nodes, node{name: segment, param: none, first: i})
			if shared {
				d.nodes[path[depth]].next = id
			} else {
				d.nodes[parent].child = id
			}
			path = append(path[:depth], id)
			shared = false
		}
		parent = path[depth]
		if !more {
			d.nodes[parent].param = i
			return path[:depth+1]
		}
		name = rest
	}
}

// children yields the nodes below n, in order.
func (d *decoder) children(n *node) iter.Seq[*node] {
	return func(yield func(*node) bool) {
		for id := n.child; id != 0; {
			c := &d.nodes[id]
			if !yield(c) {
				return
			}
			id = c.next
		}
	}
}

// unknown notes that nobody knows the parameters at n.
func (d *decoder) unknown(n *node) { d.unknownNamed(d.params[n.first].Name) }

func (d *decoder) unknownNamed(name string) {
	if d.unknownName == "" {
		d.unknownName = name
	}
}

// bad notes that the value at n is not what it should be.
func (d *decoder) bad(n *node, want string) {
	if d.invalid == nil {
		p := d.params[n.param]
		d.invalid = apierr.New(apierr.CodeInvalidParameterValue, "Value (%s) for parameter %s is invalid. %s", shorten(p.Value), p.Name, want)
	}
}

// value is the text of a scalar: n must be the end of a parameter and of nothing longer.
func (d *decoder) value(n *node) (string, bool) {
	for c := range d.children(n) {
		d.unknown(c)
		return "", false
	}
	return d.params[n.param].Value, true
}

// textValue copies: a group's name that is kept for years must not keep the megabyte it came in.
func (d *decoder) textValue(n *node) (string, bool) {
	s, ok := d.value(n)
	return strings.Clone(s), ok
}

func (d *decoder) int32Value(n *node) (int32, bool) {
	s, ok := d.value(n)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		d.bad(n, "Expecting an integer.")
	}
	return int32(v), err == nil
}

func (d *decoder) int64Value(n *node) (int64, bool) {
	s, ok := d.value(n)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		d.bad(n, "Expecting an integer.")
	}
	return v, err == nil
}

func (d *decoder) booleanValue(n *node) (v, ok bool) {
	s, ok := d.value(n)
	switch {
	case !ok:
		return false, false
	case s == "true":
		return true, true
	case s == "false":
		return false, true
	}
	d.bad(n, "Expecting true or false.")
	return false, false
}

func (d *decoder) timestampValue(n *node) (time.Time, bool) {
	s, ok := d.value(n)
	if !ok {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	d.bad(n, "Expecting a time like 2006-01-02T15:04:05Z.")
	return time.Time{}, false
}

func (d *decoder) blobValue(n *node) ([]byte, bool) {
	s, ok := d.value(n)
	if !ok {
		return nil, false
	}
	v, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		d.bad(n, "Expecting base64.")
		return nil, false
	}
	return v, true
}

// readEnum reads an enumeration's value. Which values there are is for the operations to say; but empty is none
// of them, and would be taken for absent.
func readEnum[E ~string](d *decoder, n *node) (E, bool) {
	s, ok := d.value(n)
	if ok && s == "" {
		d.bad(n, "It must not be empty.")
		return "", false
	}
	return E(strings.Clone(s)), ok
}

func readValue[T any](d *decoder, n *node, read func(*decoder, *node) (T, bool)) T {
	if n.param == none {
		d.unknown(n)
		var zero T
		return zero
	}
	v, _ := read(d, n)
	return v
}

func readPointer[T any](d *decoder, n *node, read func(*decoder, *node) (T, bool)) *T {
	if n.param == none {
		d.unknown(n)
		return nil
	}
	v, ok := read(d, n)
	if !ok {
		return nil
	}
	return &v
}

func readStructure[T any](d *decoder, n *node, read func(*T, *decoder, *node)) *T {
	if n.param != none {
		d.unknown(n)
		return nil
	}
	v := new(T)
	read(v, d, n)
	return v
}

// elements counts the elements of a list: every child is one. "X=" is how some clients send an empty list.
func (d *decoder) elements(n *node) (int, bool) {
	if n.param != none && d.params[n.param].Value != "" {
		d.unknown(n)
		return 0, false
	}
	count := 0
	for c := range d.children(n) {
		if !isIndex(c.name) {
			d.unknown(c)
			return 0, false
		}
		count++
	}
	return count, true
}

func readStructures[T any](d *decoder, n *node, read func(*T, *decoder, *node)) []T {
	count, ok := d.elements(n)
	if !ok {
		return nil
	}
	list := make([]T, count)
	i := 0
	for c := range d.children(n) {
		if c.param != none {
			d.unknown(c)
		}
		read(&list[i], d, c)
		i++
	}
	return list
}

func readScalars[T any](d *decoder, n *node, read func(*decoder, *node) (T, bool)) []T {
	count, ok := d.elements(n)
	if !ok {
		return nil
	}
	list := make([]T, 0, count)
	for c := range d.children(n) {
		list = append(list, readValue(d, c, read))
	}
	return list
}
