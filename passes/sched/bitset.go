package sched

// bitset is a set of values with a second level that says which words are not
// empty, so that a sparse set is walked, in ascending order, without a look at
// the whole of it (see State.send).
type bitset struct {
	words, above []uint64
}

func newBitset(n int) bitset {
	words := (n + 63) / 64
	return bitset{make([]uint64, words), make([]uint64, (words+63)/64)}
}

// flip adds a member or takes it away.
func (b *bitset) flip(v int32) {
	w := v >> 6
	b.words[w] ^= 1 << (v & 63)
	if b.words[w] == 0 {
		b.above[w>>6] &^= 1 << (w & 63)
	} else {
		b.above[w>>6] |= 1 << (w & 63)
	}
}

func (b *bitset) clear() {
	clear(b.words)
	clear(b.above)
}
