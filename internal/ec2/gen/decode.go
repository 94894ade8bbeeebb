package gen

import (
	"bytes"
	"fmt"
	"slices"
)

// writeDecoders writes, for each structure of a request, how it is read from the parameters and which of its
// required members is missing.
func (g *generator) writeDecoders(b *bytes.Buffer) error {
	if err := g.findRequired(); err != nil {
		return err
	}
	b.WriteString("import \"strconv\"\n\n")
	return g.structures(func(s *shape) bool { return s.in }, func(s *shape, ms []member) error {
		if err := writeDecoder(b, s, ms); err != nil {
			return err
		}
		if g.needsCheck[s.name] {
			g.writeMissing(b, s, ms)
		}
		return nil
	})
}

func writeDecoder(b *bytes.Buffer, s *shape, ms []member) error {
	if len(ms) == 0 {
		fmt.Fprintf(b, "func (x *%s) decode(d *decoder, n *node) {\n\tfor c := range d.children(n) {\n\t\td.unknown(c)\n\t}\n}\n\n", s.name)
		return nil
	}
	fmt.Fprintf(b, "func (x *%s) decode(d *decoder, n *node) {\n\tfor c := range d.children(n) {\n\t\tswitch c.name {\n", s.name)
	seen := map[string]bool{}
	for _, m := range ms {
		wire := m.queryName(m.name)
		if seen[wire] {
			return fmt.Errorf("two members of %s are called %s", s.name, wire)
		}
		seen[wire] = true
		fmt.Fprintf(b, "\t\tcase %q:\n\t\t\tx.%s = %s\n", wire, m.name, reader(m))
	}
	b.WriteString("\t\tdefault:\n\t\t\td.unknown(c)\n\t\t}\n\t}\n}\n\n")
	return nil
}

// reader is the call that reads the member from node c.
func reader(m member) string {
	of := m.of
	if m.list != nil {
		of = m.list
	}
	kind := map[string]string{
		"structure": "structure", "string": "text", "integer": "int32", "long": "int64",
		"double": "float64", "boolean": "boolean", "timestamp": "timestamp", "blob": "blob",
	}[of.Type]
	switch {
	case m.list != nil && of.Type == "structure":
		return fmt.Sprintf("readStructures(d, c, (*%s).decode)", of.name)
	case of.Type == "structure":
		return fmt.Sprintf("readStructure(d, c, (*%s).decode)", of.name)
	case m.list != nil && of.Enum != nil:
		return fmt.Sprintf("readScalars(d, c, readEnum[%s])", of.name)
	case m.list != nil:
		return fmt.Sprintf("readScalars(d, c, (*decoder).%sValue)", kind)
	case of.Enum != nil:
		return fmt.Sprintf("readValue(d, c, readEnum[%s])", of.name)
	case of.Type == "blob":
		return "readValue(d, c, (*decoder).blobValue)"
	}
	return fmt.Sprintf("readPointer(d, c, (*decoder).%sValue)", kind)
}

// findRequired marks the structures of requests that have required members, or reach one that has.
func (g *generator) findRequired() error {
	for changed := true; changed; {
		changed = false
		err := g.structures(func(s *shape) bool { return s.in && !g.needsCheck[s.name] }, func(s *shape, ms []member) error {
			if len(s.Required) > 0 || slices.ContainsFunc(ms, func(m member) bool { return g.below(m) != nil }) {
				g.needsCheck[s.name] = true
				changed = true
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// below is the structure inside the member that needs a check of its own, or nil.
func (g *generator) below(m member) *shape {
	of := m.of
	if m.list != nil {
		of = m.list
	}
	if of.Type == "structure" && g.needsCheck[of.name] {
		return of
	}
	return nil
}

func (g *generator) writeMissing(b *bytes.Buffer, s *shape, ms []member) {
	fmt.Fprintf(b, "func (x *%s) missing() string {\n", s.name)
	for _, m := range ms {
		if !slices.Contains(s.Required, m.name) {
			continue
		}
		said := m.queryName(m.name)
		if other, ok := g.spelling[s.name+"."+m.name]; ok {
			said = other
		}
		absent := "== nil"
		switch {
		case m.list != nil || m.of.Type == "blob":
			fmt.Fprintf(b, "\tif len(x.%s) == 0 {\n\t\treturn %q\n\t}\n", m.name, said)
			continue
		case m.of.Enum != nil:
			absent = `== ""`
		}
		fmt.Fprintf(b, "\tif x.%s %s {\n\t\treturn %q\n\t}\n", m.name, absent, said)
	}
	for _, m := range ms {
		if g.below(m) == nil {
			continue
		}
		wire := m.queryName(m.name)
		if m.list != nil {
			fmt.Fprintf(b, "\tfor i := range x.%s {\n\t\tif m := x.%s[i].missing(); m != \"\" {\n\t\t\treturn \"%s.\" + strconv.Itoa(i+1) + \".\" + m\n\t\t}\n\t}\n",
				m.name, m.name, wire)
			continue
		}
		fmt.Fprintf(b, "\tif x.%s != nil {\n\t\tif m := x.%s.missing(); m != \"\" {\n\t\t\treturn \"%s.\" + m\n\t\t}\n\t}\n", m.name, m.name, wire)
	}
	b.WriteString("\treturn \"\"\n}\n\n")
}
