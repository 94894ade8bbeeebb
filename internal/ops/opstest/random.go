package opstest

import (
	"flag"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one each time")

// Random is a source that says how to have it again.
func Random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("to run this again: -seed %d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// Pattern is a filter's pattern the slow way: as a regular expression.
func Pattern(pattern string) *regexp.Regexp {
	var re strings.Builder
	re.WriteString(`(?s)\A`)
	runes := []rune(pattern)
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == '*':
			re.WriteString(".*")
		case r == '?':
			re.WriteString(".")
		case r == '\\' && i+1 < len(runes):
			i++
			re.WriteString(regexp.QuoteMeta(string(runes[i])))
		default:
			re.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return regexp.MustCompile(re.String() + `\z`)
}
