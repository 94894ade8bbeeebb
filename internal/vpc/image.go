package vpc

import "time"

// Image is a name that an account gave to the one system that lab instances run.
type Image struct {
	ID          ImageID
	Scope       Scope
	Name        string
	Description string
	ENASupport  bool // EnaSupport, stored as clients set it
	Tags        Tags
	Created     time.Time
}

// Kind says that it is an image.
func (i *Image) Kind() Kind { return KindImage }

// Key is its id.
func (i *Image) Key() string { return string(i.ID) }

// In is its partition.
func (i *Image) In() Scope { return i.Scope }

// GetTags are its tags.
func (i *Image) GetTags() Tags { return i.Tags }

// ResourceType is what TagSpecification calls it.
func (i *Image) ResourceType() string { return "image" }

// WithTags is a copy with other tags.
func (i *Image) WithTags(t Tags) Entity { c := *i; c.Tags = t; return &c }
