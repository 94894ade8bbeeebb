package call

// What the tests of patterns look at.
const FilterValueBytes = filterValueBytes

var (
	AnyPattern   = anyPattern
	MatchPattern = matchPattern
)
