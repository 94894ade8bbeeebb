package ops

import (
	"time"

	"sallyport.dev/sallyport/internal/instance"
	"sallyport.dev/sallyport/internal/peering"
	"sallyport.dev/sallyport/internal/state"
)

// Reap removes what ended so long ago that nobody is shown it any more.
func Reap(tx *state.Tx, now time.Time) {
	instance.Reap(tx, now)
	peering.Reap(tx, now)
}
