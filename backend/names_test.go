package backend

import "testing"

// TestWhatIsNotKnown wants the reason why weights and a model are not found by name.
func TestWhatIsNotKnown(t *testing.T) {
	if _, err := ParseWeights("inside"); err == nil || err.Error() != `weights cannot be "inside", they are one of auto, embedded, external, reference` {
		t.Errorf("weights: %v", err)
	}
	const want = "b/manifest.json: the manifest names no model, name one with --model"
	if _, err := FindModel("", "b", &Manifest{}); err == nil || err.Error() != want {
		t.Errorf("model: %v, want %s", err, want)
	}
}
