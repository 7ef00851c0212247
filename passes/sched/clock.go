package sched

import "github.com/dnnsplit/dnnsplit/compiler/ir"

type eventKind uint8

const (
	runEnds     eventKind = iota // id: sub-model
	hopArrives                   // id: transfer
	channelFree                  // id: channel
)

type event struct {
	time ir.Time
	id   int32
	hop  int32
	kind eventKind
}

// waiter is a transfer that waits for a channel. Transfers are numbered by
// value, then by destination, so their number breaks ties as the model wants.
type waiter struct {
	ready    ir.Time
	transfer int32
	hop      int32
}

func (a waiter) before(b waiter) bool {
	if a.ready != b.ready {
		return a.ready < b.ready
	}
	if a.transfer != b.transfer {
		return a.transfer < b.transfer
	}
	return a.hop < b.hop
}

type waitHeap []waiter

// clock holds what is to happen, and who waits for each channel. Events of one
// instant may come in any order: their effects commute until a channel is given out.
type clock struct {
	events []event
	queue  []waitHeap // by ChannelID
	busy   []bool
}

func (c *clock) at(t ir.Time, e event) {
	e.time = t
	c.events = append(c.events, e)
	h := c.events
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if h[up].time <= e.time {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
	c.events = h
}

func (c *clock) pop() event {
	h := c.events
	top := h[0]
	last := h[len(h)-1]
	h = h[:len(h)-1]
	c.events = h
	if len(h) > 0 {
		i := 0
		for {
			k := 2*i + 1
			if k >= len(h) {
				break
			}
			if k+1 < len(h) && h[k+1].time < h[k].time {
				k++
			}
			if h[k].time >= last.time {
				break
			}
			h[i] = h[k]
			i = k
		}
		h[i] = last
	}
	return top
}

func (c *clock) wait(ch ir.ChannelID, w waiter) {
	c.queue[ch] = append(c.queue[ch], w)
	h := c.queue[ch]
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !w.before(h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = w
	c.queue[ch] = h
}

func (c *clock) take(ch ir.ChannelID) waiter {
	h := c.queue[ch]
	top := h[0]
	last := h[len(h)-1]
	h = h[:len(h)-1]
	c.queue[ch] = h
	if len(h) > 0 {
		i := 0
		for {
			k := 2*i + 1
			if k >= len(h) {
				break
			}
			if k+1 < len(h) && h[k+1].before(h[k]) {
				k++
			}
			if !h[k].before(last) {
				break
			}
			h[i] = h[k]
			i = k
		}
		h[i] = last
	}
	return top
}
