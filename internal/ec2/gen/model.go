package gen

import (
	"bytes"
	_ "embed" // the models
	"encoding/json"
	"fmt"
	"strings"
)

//go:embed model/ec2-model.json
var ec2Model []byte

//go:embed model/sts-model.json
var stsModel []byte

// Models is the pair of API descriptions that the generator reads, as botocore writes them.
type Models struct {
	EC2 []byte
	STS []byte
}

// Committed returns the models that are in the repository.
func Committed() Models { return Models{EC2: ec2Model, STS: stsModel} }

// Model is one service's description: its operations and the shapes they are made of.
type Model struct {
	Operations ordered[Operation]
	Shapes     ordered[Shape]
}

// Operation is one action. Output is nil where the action answers only that it was done.
type Operation struct {
	Input  *Ref
	Output *Ref
}

// Shape is a type of the API.
type Shape struct {
	Type         string
	LocationName string
	Required     []string
	Members      ordered[Ref]
	Member       *Ref
	Enum         []string
}

// Ref is a use of a shape, with the names that it has on the wire there.
type Ref struct {
	Shape        string
	LocationName string
	QueryName    string
}

// ordered is a JSON object that remembers the order of its keys: the order of members is part of the API.
type ordered[T any] struct {
	Names []string
	By    map[string]T
}

// UnmarshalJSON reads an object, key by key.
func (o *ordered[T]) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		return err
	}
	o.By = map[string]T{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		var v T
		if err := dec.Decode(&v); err != nil {
			return fmt.Errorf("reading %q: %w", name, err)
		}
		o.Names = append(o.Names, name)
		o.By[name] = v
	}
	return nil
}

// ParseModel reads one description.
func ParseModel(data []byte) (*Model, error) {
	var m Model
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("parsing the model: %w", err)
	}
	return &m, nil
}

// QueryName is the name of a structure's member in a request of the EC2 query protocol: queryName, else
// locationName with its first letter raised, else the member's own name.
func (r Ref) queryName(member string) string {
	switch {
	case r.QueryName != "":
		return r.QueryName
	case r.LocationName != "":
		return strings.ToUpper(r.LocationName[:1]) + r.LocationName[1:]
	}
	return member
}

// ElementName is the name of a structure's member in a response.
func (r Ref) elementName(member string) string {
	if r.LocationName != "" {
		return r.LocationName
	}
	return member
}
