package state

import (
	"iter"

	"sallyport.dev/sallyport/internal/vpc"
)

func newImages() *table[*vpc.Image] {
	return newTable(nil,
		func(i *vpc.Image) []string { return []string{scopeKey(i.Scope)} },
		func(i *vpc.Image) []string { return []string{scopeKey(i.Scope) + key(i.Name)} }).counting(imagesByScope)
}

// ImagesIn walks the images that a scope registered.
func (s *Snapshot) ImagesIn(scope vpc.Scope) iter.Seq[*vpc.Image] {
	return tableOf[*vpc.Image](s, vpc.KindImage).by(imagesByScope, string(scope.Account), string(scope.Region))
}

// CountImages is how many images a scope registered.
func (s *Snapshot) CountImages(scope vpc.Scope) int {
	return tableOf[*vpc.Image](s, vpc.KindImage).count(imagesByScope, string(scope.Account), string(scope.Region))
}

// ImageNamed is a scope's image with a name, or nil.
func (s *Snapshot) ImageNamed(scope vpc.Scope, name string) *vpc.Image {
	return first(tableOf[*vpc.Image](s, vpc.KindImage).by(imagesByName, string(scope.Account), string(scope.Region), name))
}
