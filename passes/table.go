package passes

import "fmt"

// pass is a step of a placement.
type pass struct {
	name string
	run  func(*job) error
	skip func(*job) bool // nil: never
}

// table lists the passes in order.
func table() []pass {
	return []pass{
		{name: "supported", run: supported},
		{name: "bounds", run: bounds},
		{name: "singles", run: singles},
		{name: "baselines", run: baselines},
		{name: "series", run: series, skip: (*job).settled},
		{name: "chain", run: chain, skip: (*job).settled},
		{name: "fit", run: fit, skip: func(j *job) bool { return !j.nothing() }},
		{name: "decide", run: decide, skip: func(j *job) bool { return !j.nothing() }},
		{name: "tiny", run: tiny, skip: (*job).notTiny},
		{name: "line", run: line, skip: (*job).noLine},
		{name: "search", run: search, skip: (*job).settled},
		{name: "longline", run: longLine, skip: (*job).noLine},
		{name: "gap", run: gap, skip: (*job).settled},
		{name: "exact", run: exact, skip: (*job).settled},
		{name: "merge", run: merge, skip: (*job).nothing},
		{name: "worth", run: worth, skip: func(j *job) bool { return j.o.LeastGain <= 0 || j.whole == nil }},
		{name: "auto", run: auto, skip: func(j *job) bool { return !j.o.Auto || j.nothing() }},
	}
}

// constraint says that a pass must come before another, and why.
type constraint struct{ before, after, why string }

var constraints = []constraint{
	{"supported", "bounds", "bounds are of problems whose nodes all run somewhere"},
	{"bounds", "search", "the search stops at a plan that meets the bound"},
	{"singles", "search", "the whole graph on one processor is a start, and never to be exceeded"},
	{"baselines", "search", "baselines are starts, too, and never to be exceeded"},
	{"singles", "series", "blocks are spread over the device of the best single processor"},
	{"series", "search", "blocks make more sub-models than a search tries"},
	{"bounds", "chain", "chains take it that every node runs somewhere"},
	{"baselines", "chain", "the dynamic programme cuts off what a plan beats"},
	{"chain", "search", "what is proved needs no search"},
	{"baselines", "fit", "tight memory matters only where nothing has fitted yet"},
	{"bounds", "line", "a search along the line ends at the bound"},
	{"baselines", "line", "a search along the line cuts off what a plan beats"},
	{"line", "search", "what is proved needs no search"},
	{"search", "longline", "a search along the line cuts off what a good plan beats"},
	{"longline", "gap", "what is proved needs no other bound"},
	{"fit", "search", "a search needs a feasible start"},
	{"search", "exact", "branch and bound cuts off what a good plan beats"},
	{"fit", "decide", "a plan of segments is found sooner, where there is one"},
	{"decide", "tiny", "a problem without a plan needs no search for the best one"},
	{"decide", "search", "a search needs a feasible start"},
	{"fit", "tiny", "branch and bound cuts off what a plan beats"},
	{"tiny", "search", "what is proved needs no search"},
	{"search", "gap", "a bound is raised towards the value of a good plan"},
	{"gap", "exact", "branch and bound ends at a plan that meets the bound"},
	{"exact", "merge", "merging looks at the final plan"},
	{"search", "merge", "merging looks at the final plan"},
	{"merge", "worth", "what is merged into one sub-model is no split"},
	{"worth", "auto", "more sub-models are worth it over the final plan, too"},
	{"merge", "auto", "the gain of more sub-models is over the final plan"},
}

// checkOrder verifies a table: names are unique and every constraint holds.
func checkOrder(table []pass, constraints []constraint) error {
	at := map[string]int{}
	for i, ps := range table {
		if _, dup := at[ps.name]; dup {
			return fmt.Errorf("pass %s stands twice", ps.name)
		}
		at[ps.name] = i
	}
	for _, c := range constraints {
		a, okA := at[c.before]
		b, okB := at[c.after]
		if !okA || !okB {
			return fmt.Errorf("a constraint names pass %s or %s, which there is not", c.before, c.after)
		}
		if a > b {
			return fmt.Errorf("pass %s must come before %s: %s", c.before, c.after, c.why)
		}
	}
	return nil
}

// nothing says that no plan is known.
func (j *job) nothing() bool { return j.best == nil }

// settled says that nothing is left to find.
func (j *job) settled() bool { return j.best != nil && j.best.Value() == j.bound }

// notTiny says that a proof would take long, or that there is nothing to prove.
func (j *job) notTiny() bool {
	n := j.p.Graph.NumNodes()
	return j.settled() || n > timedNodes || n > tinyNodes && j.deadline.IsZero()
}
