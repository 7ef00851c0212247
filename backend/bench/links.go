package bench

import (
	"fmt"
	"sync"
	"time"

	"github.com/dnnsplit/dnnsplit/backend"
)

// channel is a directed link, or a medium that several links share: it carries
// one transfer at a time.
type channel struct {
	mu   sync.Mutex
	free time.Duration // since the start of the run; when the last transfer leaves it
}

// hop is one link on the way of a value: when the value is ready it waits for the
// channel, occupies it for busy and is there latency after that.
type hop struct {
	on            *channel
	busy, latency time.Duration
	name          string // for the trace
	link          int    // index into network.links
}

// route is the way of a value to a device.
type route []hop

// transfer is what a hop did.
type transfer struct {
	start, free, arrive time.Duration
}

// send reserves the way of a value that is ready at the given time, and says when
// it arrives. Hops queue in the order in which they are reserved: a value that
// goes over several links takes its place on the later ones at once, which
// differs from the execution model only where another value gets ready for a
// later link in between.
func (r route) send(ready time.Duration, note func(hop, transfer)) time.Duration {
	for _, h := range r {
		h.on.mu.Lock()
		start := max(ready, h.on.free)
		h.on.free = start + h.busy
		h.on.mu.Unlock()
		ready = start + h.busy + h.latency
		if note != nil {
			note(h, transfer{start, start + h.busy, ready})
		}
	}
	return ready
}

// network is the links of a bundle.
type network struct {
	links    []backend.Link
	byEnds   map[[2]string]int
	channels []*channel // by index into links
}

func newNetwork(links []backend.Link) *network {
	n := &network{links: links, byEnds: map[[2]string]int{}}
	media := map[string]*channel{}
	for i, l := range links {
		n.byEnds[[2]string{l.From, l.To}] = i
		c := &channel{}
		if l.Medium != "" {
			if old, ok := media[l.Medium]; ok {
				c = old
			}
			media[l.Medium] = c
		}
		n.channels = append(n.channels, c)
	}
	return n
}

// reset makes all links free. Nothing may be under way.
func (n *network) reset() {
	for _, c := range n.channels {
		c.free = 0
	}
}

// to is the way of a value of that size to a device, by the transfers that the
// manifest plans.
func (n *network) to(device string, bytes int64, planned []backend.Transfer) (route, error) {
	var r route
	for _, t := range planned {
		if t.For != device {
			continue
		}
		i, ok := n.byEnds[[2]string{t.From, t.To}]
		if !ok {
			return nil, fmt.Errorf("the manifest does not describe the link from %s to %s: it was written by an older version, split again", t.From, t.To)
		}
		l := n.links[i]
		r = append(r, hop{n.channels[i], micros(float64(bytes) / l.BytesPerUs), micros(l.LatencyUs), l.From + " → " + l.To, i})
	}
	return r, nil
}

func micros(us float64) time.Duration { return time.Duration(us * float64(time.Microsecond)) }
