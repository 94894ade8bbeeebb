package ec2_test

import (
	"bytes"
	gocmp "cmp"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport.dev/sallyport/internal/ec2"
	"sallyport.dev/sallyport/internal/ec2/gen"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0 chooses one and prints it")

func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// wire reads the model a second time, in its own way: values are made from the model, written as a client writes
// them and read as a client reads them, and compared with what the generated code makes of them.
type wire struct {
	*rand.Rand
	model  *gen.Model
	sparse bool // leave members out, at random
}

func newWires(t *testing.T) map[ec2.Service]*wire {
	t.Helper()
	rng := newRand(t)
	wires := map[ec2.Service]*wire{}
	for service, data := range map[ec2.Service][]byte{ec2.ServiceEC2: gen.Committed().EC2, ec2.ServiceSTS: gen.Committed().STS} {
		m, err := gen.ParseModel(data)
		if err != nil {
			t.Fatal(err)
		}
		wires[service] = &wire{Rand: rng, model: m}
	}
	return wires
}

// value makes a value of a shape: map, slice, string, json.Number, bool. Times and blobs are their JSON texts.
func (w *wire) value(shape string, required bool) any {
	s := w.model.Shapes.By[shape]
	switch s.Type {
	case "structure":
		v := map[string]any{}
		for _, n := range s.Members.Names {
			must := slices.Contains(s.Required, n)
			if must || !w.sparse || w.IntN(3) == 0 {
				v[n] = w.value(s.Members.By[n].Shape, must)
			}
		}
		if names := s.Members.Names; len(v) == 0 && len(names) > 0 { // a request cannot say "an empty structure"
			n := names[w.IntN(len(names))]
			v[n] = w.value(s.Members.By[n].Shape, true)
		}
		return v
	case "list":
		v := []any{}
		for range 1 + w.IntN(3) {
			v = append(v, w.value(s.Member.Shape, true))
		}
		return v
	case "integer":
		return json.Number(strconv.Itoa(int(int32(w.Uint32()))))
	case "long":
		return json.Number(strconv.FormatInt(int64(w.Uint64()), 10))
	case "double":
		return json.Number(strconv.FormatFloat(float64(w.IntN(1000))/8, 'f', -1, 64))
	case "boolean":
		return w.IntN(2) == 0
	case "timestamp":
		return time.UnixMilli(w.Int64N(4e12)).UTC().Format(time.RFC3339Nano)
	case "blob":
		return base64.StdEncoding.EncodeToString([]byte(w.text(1)))
	}
	if s.Enum != nil {
		return s.Enum[w.IntN(len(s.Enum))]
	}
	if required {
		return w.text(1)
	}
	return w.text(0)
}

func (w *wire) text(least int) string {
	alphabet := []rune("ab-z.09 &<>\"'+=%;\t\n\réß漢😀\u007f")
	var b strings.Builder
	for range least + w.IntN(8) {
		b.WriteRune(alphabet[w.IntN(len(alphabet))])
	}
	return b.String()
}

// params writes a value as a client does.
func (w *wire) params(out url.Values, prefix, shape string, v any) {
	s := w.model.Shapes.By[shape]
	join := func(name string) string {
		if prefix == "" {
			return name
		}
		return prefix + "." + name
	}
	switch v := v.(type) {
	case map[string]any:
		for n, x := range v {
			ref := s.Members.By[n]
			name := n
			if ref.LocationName != "" {
				name = strings.ToUpper(ref.LocationName[:1]) + ref.LocationName[1:]
			}
			if ref.QueryName != "" {
				name = ref.QueryName
			}
			w.params(out, join(name), ref.Shape, x)
		}
	case []any:
		index := w.IntN(2) // some clients count from 0
		for _, x := range v {
			w.params(out, join(strconv.Itoa(index)), s.Member.Shape, x)
			index += 1 + w.IntN(9) // gaps, and numbers of two digits
		}
	case bool:
		out.Set(prefix, strconv.FormatBool(v))
	default:
		out.Set(prefix, fmt.Sprint(v))
	}
}

// shuffled is the form with its parameters in any order.
func (w *wire) shuffled(v url.Values) string {
	var pairs []string
	for name := range maps.Keys(v) {
		pairs = append(pairs, url.QueryEscape(name)+"="+url.QueryEscape(v.Get(name)))
	}
	slices.Sort(pairs)
	w.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
	return strings.Join(pairs, "&")
}

// fill puts a value into a generated structure.
func fill(t *testing.T, v, into any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		t.Fatalf("filling %T: %v", into, err)
	}
}

func (w *wire) operation(a ec2.Action) gen.Operation { return w.model.Operations.By[a.Name] }

func TestEveryRequestDecodes(t *testing.T) {
	wires := newWires(t)
	for _, a := range ec2.Actions() {
		t.Run(a.Name, func(t *testing.T) {
			w := wires[a.Service]
			for round := range 6 {
				w.sparse = round > 0
				shape := w.operation(a).Input.Shape
				v := w.value(shape, true)
				form := url.Values{}
				w.params(form, "", shape, v)
				want := a.New()
				fill(t, v, want)
				p, err := ec2.ParseForm("Action="+a.Name+"&Version=2016-11-15", w.shuffled(form))
				if err != nil {
					t.Fatal(err)
				}
				got, err := ec2.Decode(a.Name, p)
				if err != nil {
					t.Fatalf("%v\n%v", err, form)
				}
				if got.ActionName() != a.Name {
					t.Errorf("ActionName = %s", got.ActionName())
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

// element is any XML element.
type element struct {
	XMLName  xml.Name
	Children []element `xml:",any"`
	Text     string    `xml:",chardata"`
}

// read reads a value from an element as a client does, and fails on an element that nobody knows, one that comes
// twice, and one out of the model's order.
func (w *wire) read(t *testing.T, shape string, e element) any {
	t.Helper()
	s := w.model.Shapes.By[shape]
	switch s.Type {
	case "structure":
		v := map[string]any{}
		at := 0
		for _, c := range e.Children {
			i := slices.IndexFunc(s.Members.Names[at:], func(n string) bool {
				ref := s.Members.By[n]
				return c.XMLName.Local == ref.LocationName || ref.LocationName == "" && c.XMLName.Local == n
			})
			if i < 0 {
				t.Errorf("element <%s> in %s: unknown, repeated or out of order", c.XMLName.Local, shape)
				continue
			}
			n := s.Members.Names[at+i]
			at += i + 1
			v[n] = w.read(t, s.Members.By[n].Shape, c)
		}
		return v
	case "list":
		v := []any{}
		for _, c := range e.Children {
			if want := gocmp.Or(s.Member.LocationName, "member"); c.XMLName.Local != want {
				t.Errorf("element <%s> in %s, want <%s>", c.XMLName.Local, shape, want)
			}
			v = append(v, w.read(t, s.Member.Shape, c))
		}
		return v
	case "boolean":
		return e.Text == "true"
	case "integer", "long", "double":
		return json.Number(e.Text)
	case "timestamp":
		at, err := time.Parse("2006-01-02T15:04:05.000Z", e.Text)
		if err != nil {
			t.Error(err)
		}
		return at.Format(time.RFC3339Nano)
	}
	return e.Text
}

func TestEveryResponseEncodes(t *testing.T) {
	wires := newWires(t)
	for _, a := range ec2.Actions() {
		t.Run(a.Name, func(t *testing.T) {
			w := wires[a.Service]
			for round := range 4 {
				w.sparse = round > 0
				body, want := w.response(t, a)
				var root element
				if err := xml.Unmarshal(body, &root); err != nil {
					t.Fatalf("%v\n%s", err, body)
				}
				got := w.readResponse(t, a, root)
				if w.sparse { // lists that are not set may be there, empty
					got = dropEmptyLists(got)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

// response makes and encodes a response; for an action without output the value is nil.
func (w *wire) response(t *testing.T, a ec2.Action) (body []byte, v any) {
	t.Helper()
	if !a.Output {
		return ec2.AppendResponse(nil, a, ec2.VersionCurrent, "id", nil), nil
	}
	v = w.value(w.operation(a).Output.Shape, true)
	r := a.NewResponse()
	fill(t, v, r)
	return ec2.AppendResponse(nil, a, ec2.VersionCurrent, "id", r), v
}

// readResponse takes the envelope off and reads what is in it.
func (w *wire) readResponse(t *testing.T, a ec2.Action, root element) any {
	t.Helper()
	namespace, first := "http://ec2.amazonaws.com/doc/2016-11-15/", "requestId"
	if a.Service == ec2.ServiceSTS {
		namespace, first = "https://sts.amazonaws.com/doc/2011-06-15/", a.Name+"Result"
	}
	if root.XMLName.Local != a.Name+"Response" || root.XMLName.Space != namespace || len(root.Children) == 0 || root.Children[0].XMLName.Local != first {
		t.Fatalf("the envelope is wrong: %+v", root)
	}
	switch {
	case a.Service == ec2.ServiceSTS:
		root = root.Children[0]
	case !a.Output:
		if len(root.Children) != 2 || root.Children[1].XMLName.Local != "return" || root.Children[1].Text != "true" {
			t.Errorf("want <return>true</return>: %+v", root.Children)
		}
		return nil
	default:
		root.Children = root.Children[1:]
	}
	return w.read(t, w.operation(a).Output.Shape, root)
}

// dropEmptyLists removes members that are empty lists.
func dropEmptyLists(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if l, ok := x.([]any); ok && len(l) == 0 {
				delete(v, k)
				continue
			}
			v[k] = dropEmptyLists(x)
		}
	case []any:
		for i := range v {
			v[i] = dropEmptyLists(v[i])
		}
	}
	return v
}
