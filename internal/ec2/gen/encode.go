package gen

import (
	"bytes"
	"fmt"
)

// writeEncoders writes, for each structure of a response, how its members become elements.
func (g *generator) writeEncoders(b *bytes.Buffer) error {
	b.WriteString("import \"strconv\"\n\n")
	used := map[string]bool{}
	err := g.structures(func(s *shape) bool { return s.out }, func(s *shape, ms []member) error {
		fmt.Fprintf(b, "func (x *%s) appendMembers(b []byte) []byte {\n", s.name)
		for _, m := range ms {
			if m.of.Type == "blob" || m.list != nil && m.list.Type == "blob" {
				return fmt.Errorf("member %s of %s is a blob: so far no response had one", m.name, s.name)
			}
			g.writeMember(b, s, m, used)
		}
		b.WriteString("\treturn b\n}\n\n")
		return nil
	})
	if err != nil {
		return err
	}
	for _, o := range g.operations {
		if o.output != nil {
			fmt.Fprintf(b, "func (x *%s) appendResponse(b []byte) []byte {\n\tif x == nil {\n\t\treturn b\n\t}\n\treturn x.appendMembers(b)\n}\n\n", o.output.name)
		}
	}
	for name := range g.absent {
		if !used[name] {
			return fmt.Errorf("absentWhenNil names %s, which is no list of a response", name)
		}
	}
	return nil
}

func (g *generator) writeMember(b *bytes.Buffer, s *shape, m member, used map[string]bool) {
	tag := m.elementName(m.name)
	field := "x." + m.name
	switch {
	case m.list != nil:
		g.writeList(b, s, m, used)
	case m.of.Type == "structure":
		fmt.Fprintf(b, "\tif %s != nil {\n\t\tb = append(b, \"<%s>\"...)\n\t\tb = %s.appendMembers(b)\n\t\tb = append(b, \"</%s>\"...)\n\t}\n", field, tag, field, tag)
	default:
		present, value := field+" != nil", "*"+field
		if m.of.Enum != nil {
			present, value = field+` != ""`, field
		}
		fmt.Fprintf(b, "\tif %s {\n\t\tb = append(b, \"<%s>\"...)\n\t\tb = %s\n\t\tb = append(b, \"</%s>\"...)\n\t}\n", present, tag, appender(m.of, value), tag)
	}
}

func (g *generator) writeList(b *bytes.Buffer, s *shape, m member, used map[string]bool) {
	tag, item := m.elementName(m.name), "member"
	field := "x." + m.name
	if m.of.Member.LocationName != "" {
		item = m.of.Member.LocationName
	}
	closing := ""
	for _, key := range []string{s.name + "." + m.name, s.name + ".*"} {
		if g.absent[key] {
			used[key] = true
			fmt.Fprintf(b, "\tif %s != nil {\n", field)
			closing = "\t}\n"
			break
		}
	}
	fmt.Fprintf(b, "\tif len(%s) == 0 {\n\t\tb = append(b, \"<%s/>\"...)\n\t} else {\n\t\tb = append(b, \"<%s>\"...)\n\t\tfor i := range %s {\n\t\t\tb = append(b, \"<%s>\"...)\n",
		field, tag, tag, field, item)
	if m.list.Type == "structure" {
		fmt.Fprintf(b, "\t\t\tb = %s[i].appendMembers(b)\n", field)
	} else {
		fmt.Fprintf(b, "\t\t\tb = %s\n", appender(m.list, field+"[i]"))
	}
	fmt.Fprintf(b, "\t\t\tb = append(b, \"</%s>\"...)\n\t\t}\n\t\tb = append(b, \"</%s>\"...)\n\t}\n%s", item, tag, closing)
}

// appender is the call that appends a scalar's text.
func appender(s *shape, value string) string {
	switch s.Type {
	case "string":
		if s.Enum != nil {
			return fmt.Sprintf("appendText(b, string(%s))", value)
		}
		return fmt.Sprintf("appendText(b, %s)", value)
	case "integer", "long":
		return fmt.Sprintf("strconv.AppendInt(b, int64(%s), 10)", value)
	case "double":
		return fmt.Sprintf("strconv.AppendFloat(b, %s, 'f', -1, 64)", value)
	case "timestamp":
		return fmt.Sprintf("appendTime(b, %s)", value)
	}
	return fmt.Sprintf("strconv.AppendBool(b, %s)", value)
}
