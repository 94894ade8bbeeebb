package gen

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// writeShapes writes the structures.
func (g *generator) writeShapes(b *bytes.Buffer) error {
	b.WriteString("import \"time\"\n\n")
	return g.structures(func(*shape) bool { return true }, func(s *shape, ms []member) error {
		fmt.Fprintf(b, "// %s is %s.\ntype %s struct {\n", s.name, s.role(), s.name)
		for _, m := range ms {
			fmt.Fprintf(b, "\t%s %s%s\n", m.name, m.field, s.comment(m))
		}
		b.WriteString("}\n\n")
		return nil
	})
}

// role says where a structure is used.
func (s *shape) role() string {
	switch {
	case strings.HasSuffix(s.name, "Request") && s.in && !s.out:
		return "the input of " + strings.TrimSuffix(s.name, "Request")
	case s.in && s.out:
		return "used in requests and responses"
	case s.in:
		return "used in requests"
	}
	return "used in responses"
}

// comment gives a member's names on the wire, where a reader cannot guess them.
func (s *shape) comment(m member) string {
	var parts []string
	if s.in {
		name := m.queryName(m.name)
		if m.list != nil {
			name += ".N"
		}
		if name != m.name {
			parts = append(parts, name)
		}
		if slices.Contains(s.Required, m.name) {
			parts = append(parts, "required")
		}
	}
	if s.out && !strings.EqualFold(m.elementName(m.name), m.name) {
		parts = append(parts, "<"+m.elementName(m.name)+">")
	}
	if len(parts) == 0 {
		return ""
	}
	return " // " + strings.Join(parts, ", ")
}

// writeEnums writes the enumerations and their constants.
func (g *generator) writeEnums(b *bytes.Buffer) error {
	taken := map[string]string{}
	for _, n := range g.names {
		taken[n] = "the type " + n
	}
	for _, n := range g.names {
		s := g.shapes[n]
		if s.Enum == nil {
			continue
		}
		fmt.Fprintf(b, "// %s is an enumeration; empty means absent.\ntype %s string\n\n", n, n)
		if len(s.Enum) > enumValuesMax {
			continue
		}
		fmt.Fprintf(b, "// The values of %s.\nconst (\n", n)
		for _, v := range s.Enum {
			name := n + constantName(v)
			if by, ok := taken[name]; ok {
				return fmt.Errorf("the constant %s (value %q) is already %s", name, v, by)
			}
			taken[name] = "a constant of " + n
			fmt.Fprintf(b, "\t%s %s = %q\n", name, n, v)
		}
		b.WriteString(")\n\n")
	}
	return nil
}

// constantName turns a value into the end of a Go name: runs of letters and digits begin with a capital, and a
// run that shouts is lowered ("INSTANCE_STOPPED" gives InstanceStopped, "IPv4" stays).
func constantName(value string) string {
	var b strings.Builder
	for run := range strings.FieldsFuncSeq(value, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if run == strings.ToUpper(run) {
			run = strings.ToLower(run)
		}
		b.WriteString(strings.ToUpper(run[:1]) + run[1:])
	}
	return b.String()
}

// writeActions writes the table of actions.
func (g *generator) writeActions(b *bytes.Buffer) error {
	b.WriteString("// actionTable lists the actions, sorted by name.\nfunc actionTable() []Action {\n\treturn []Action{\n")
	for _, o := range g.operations {
		_, dry := o.input.Members.By["DryRun"]
		_, next := o.input.Members.By["NextToken"]
		_, most := o.input.Members.By["MaxResults"]
		fmt.Fprintf(b, "\t\t{Name: %q, Service: %s, DryRun: %t, Paginated: %t, Output: %t, New: func() Request { return new(%s) }",
			o.name, o.service, dry, next && most, o.output != nil, o.input.name)
		if o.output != nil {
			fmt.Fprintf(b, ", NewResponse: func() Response { return new(%s) }", o.output.name)
		}
		b.WriteString("},\n")
	}
	b.WriteString("\t}\n}\n\n")
	for _, o := range g.operations {
		fmt.Fprintf(b, "// ActionName is %q.\nfunc (*%s) ActionName() string { return %q }\n\n", o.name, o.input.name, o.name)
		if _, dry := o.input.Members.By["DryRun"]; dry {
			fmt.Fprintf(b, "// WantsDryRun says whether the caller only asks whether it would work.\nfunc (x *%s) WantsDryRun() bool { return x.DryRun != nil && *x.DryRun }\n\n", o.input.name)
		} else {
			fmt.Fprintf(b, "// WantsDryRun is false: %s has no DryRun.\nfunc (*%s) WantsDryRun() bool { return false }\n\n", o.name, o.input.name)
		}
	}
	return nil
}
