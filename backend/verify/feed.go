package verify

import (
	"context"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
)

// Feed makes one set of inputs for the model that s has loaded, from the fields
// of o that speak of inputs and from the hints beside o.Model, and runs the model
// on it once: where a model takes only some inputs, those are what comes out.
// Errors are sentences that name the model.
func Feed(ctx context.Context, s runtime.Session, o Options) (feed map[string]*runtime.Value, outputs []*runtime.Value, err error) {
	o.Trials = 1
	v := &verification{Options: o, model: o.Model, report: &Report{}}
	got, err := v.firstRuns(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	return v.feeds[0], got[0], nil
}
