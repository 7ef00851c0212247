package bound

import "math"

// sweep shifts prices once forward and once back, after Kolmogorov's sequential
// reweighted message passing (IEEE TPAMI 37(5), 2015): a unit takes from each
// of its edges what that costs at least for each of its labels, and gives to
// those ahead equal parts of what it then has. Neither step lowers the bound.
func (l *labelling) sweep() {
	for u := range l.units {
		l.visit(u, true)
	}
	for u := l.units - 1; u >= 0; u-- {
		l.visit(u, false)
	}
}

func (l *labelling) visit(u int, forward bool) {
	for _, e := range l.prior[u] {
		l.take(e, true)
	}
	for _, e := range l.after[u] {
		l.take(e, false)
	}
	l.believe(u)
	p := l.procs
	parts := int64(max(1, len(l.after[u]), len(l.prior[u])))
	give := func(e int32, side int, part bool) {
		msg := l.msg[(2*int(e)+side)*p:][:p]
		for a, x := range l.row {
			if x >= impossible {
				msg[a] = impossible
			} else if part && msg[a] < impossible {
				msg[a] -= x / parts
			}
		}
	}
	for _, e := range l.prior[u] {
		give(e, 0, !forward)
	}
	for _, e := range l.after[u] {
		give(e, 1, forward)
	}
}

// take sets what an edge adds to the labels of one of its ends to all that it costs at least there.
func (l *labelling) take(e int32, laterEnd bool) {
	p := l.procs
	to, other := l.msg[(2*int(e)+1)*p:][:p], l.msg[2*int(e)*p:][:p]
	along, across := p, 1 // steps in pair along the labels of the end, and along the other's
	if laterEnd {
		to, other = other, to
		along, across = 1, p
	}
	pair := l.pair[int(e)*p*p:][:p*p]
	for a := range p {
		best := int64(impossible)
		for b := range p {
			if c := pair[a*along+b*across]; c < impossible && other[b] < impossible {
				best = min(best, c-other[b])
			}
		}
		to[a] = best
	}
}

// believe fills row with what each label of a unit costs with all messages to it.
func (l *labelling) believe(u int) {
	p := l.procs
	copy(l.row, l.price[u*p:(u+1)*p])
	add := func(msg []int64) {
		for a, x := range msg {
			if x >= impossible || l.row[a] >= impossible {
				l.row[a] = impossible
			} else {
				l.row[a] += x
			}
		}
	}
	for _, e := range l.prior[u] {
		add(l.msg[2*int(e)*p : (2*int(e)+1)*p])
	}
	for _, e := range l.after[u] {
		add(l.msg[(2*int(e)+1)*p : (2*int(e)+2)*p])
	}
}

// total is the bound that the messages prove, impossible if no labels are, and leaves the best label of each unit and
// the best pair of labels of each edge, each by itself, in label and ends. What a message adds to a unit is taken off its edge, so the price of every labelling stays
// what it is: any messages prove a bound.
func (l *labelling) total() int64 {
	p := l.procs
	var sum int64
	for u := range l.units {
		l.believe(u)
		best := 0
		for a, x := range l.row {
			if x < l.row[best] {
				best = a
			}
		}
		if l.row[best] >= impossible {
			return impossible
		}
		l.label[u] = int32(best)
		sum += l.row[best]
	}
	for e := range l.edges {
		least := int64(math.MaxInt64)
		later, earlier := l.msg[2*e*p:(2*e+1)*p], l.msg[(2*e+1)*p:(2*e+2)*p]
		for a := range p {
			for b := range p {
				if c := l.pair[(e*p+a)*p+b]; c < impossible && later[b] < impossible && earlier[a] < impossible && c-later[b]-earlier[a] < least {
					least = c - later[b] - earlier[a]
					l.ends[e] = int32(a*p + b)
				}
			}
		}
		if least == math.MaxInt64 {
			return impossible
		}
		sum += least
	}
	return sum
}
