package gateway_test

import (
	"testing"

	"sallyport.dev/sallyport/internal/ops/opstest"
)

func TestStories(t *testing.T) { opstest.PlayStories(t) }
