package measure

import "testing"

func TestMedianAndQuantile(t *testing.T) {
	for _, c := range []struct {
		name                  string
		of                    Samples
		median, quarter, last float64
	}{
		{"none", nil, 0, 0, 0},
		{"one", Samples{3}, 3, 3, 3},
		{"odd", Samples{9, 1, 5}, 5, 1, 9},
		{"even", Samples{4, 1, 3, 2}, 2.5, 2, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.of.Median(); got != c.median {
				t.Errorf("median %v, want %v", got, c.median)
			}
			if got := c.of.Quantile(0.25); got != c.quarter {
				t.Errorf("quarter %v, want %v", got, c.quarter)
			}
			if got := c.of.Quantile(0.99); got != c.last {
				t.Errorf("last %v, want %v", got, c.last)
			}
		})
	}
}

// A machine that is ten times slower in one round changes no ratio.
func TestOverPairsRounds(t *testing.T) {
	base, twice := Samples{10, 100, 10}, Samples{20, 200, 20}
	if got := twice.Over(base); got != 2 {
		t.Errorf("ratio %v, want 2", got)
	}
}
