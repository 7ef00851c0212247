// Package dense has data structures over small whole numbers: IDs that count from 0.
package dense

// Sets are disjoint sets of the numbers 0 to n-1; at first each is alone in one.
// A set is known by one of its members, its root.
//
// Roots are found by path halving (Tarjan and van Leeuwen, "Worst-case analysis of
// set union algorithms", 1984), so m operations take O((m+n) log n) time whichever
// member becomes the root. Find changes what is stored, so it must not be called by
// several goroutines at once either.
type Sets []int32

// NewSets returns n sets of one number each.
func NewSets(n int) Sets {
	s := make(Sets, n)
	for i := range s {
		s[i] = int32(i)
	}
	return s
}

// Find returns the root of the set that x is in.
func (s Sets) Find(x int) int {
	r := int32(x)
	for s[r] != r {
		s[r] = s[s[r]]
		r = s[r]
	}
	return int(r)
}

// Join makes one set of those that a and b are in. Its root is the smaller of their
// roots: where sets are joined in no other way, a root is the smallest of its set.
func (s Sets) Join(a, b int) {
	a, b = s.Find(a), s.Find(b)
	s[max(a, b)] = int32(min(a, b))
}
