package runtime

import (
	"context"
	"errors"
	"fmt"

	"gorgonia.org/gorgonia"
)

// goMachine computes an expression graph of gorgonia, one operation after the
// other, in the caller's goroutine. Gorgonia's own machines compute in a
// goroutine of theirs, where a panic cannot be recovered, reuse memory that an
// output may still need, and cannot be stopped.
type goMachine struct {
	ctx   context.Context
	graph *gorgonia.ExprGraph
}

func (m *goMachine) Reset()       {}
func (m *goMachine) Close() error { return nil }

// RunAll computes every node and leaves the values of those that nothing reads
// in the graph. Other values are dropped after their last use.
func (m *goMachine) RunAll() error {
	sorted, err := gorgonia.Sort(m.graph) // readers before what they read
	if err != nil {
		return err
	}
	operands := make(map[int64][]*gorgonia.Node, len(sorted))
	uses := make(map[int64]int, len(sorted))
	for _, n := range sorted {
		for it := m.graph.From(n.ID()); it.Next(); {
			operand := it.Node().(*gorgonia.Node)
			operands[n.ID()] = append(operands[n.ID()], operand)
			uses[operand.ID()]++
		}
	}
	values := make(map[int64]gorgonia.Value, len(sorted))
	for i := len(sorted) - 1; i >= 0; i-- {
		n := sorted[i]
		if err := m.ctx.Err(); err != nil {
			return err
		}
		v := n.Value()
		if len(operands[n.ID()]) > 0 {
			if v, err = m.apply(n.Op(), operands[n.ID()], values); err != nil {
				return err
			}
		}
		if v == nil {
			return fmt.Errorf("node %s has no value", n.Name())
		}
		for _, operand := range operands[n.ID()] {
			if uses[operand.ID()]--; uses[operand.ID()] == 0 {
				delete(values, operand.ID())
			}
		}
		if uses[n.ID()] > 0 {
			values[n.ID()] = v
		} else if err := gorgonia.UnsafeLet(n, v); err != nil {
			return err
		}
	}
	return nil
}

// apply computes one operation. Operands that it writes to are copied before.
func (m *goMachine) apply(op gorgonia.Op, operands []*gorgonia.Node, values map[int64]gorgonia.Value) (gorgonia.Value, error) {
	if op == nil {
		return nil, errors.New("a node has operands and no operation")
	}
	in := make([]gorgonia.Value, len(operands))
	for k, operand := range operands {
		in[k] = values[operand.ID()]
		if in[k] == nil {
			return nil, fmt.Errorf("%v has an operand without a value", op)
		}
	}
	if at := op.OverwritesInput(); at >= 0 && at < len(in) {
		copied, err := gorgonia.CloneValue(in[at])
		if err != nil {
			return nil, err
		}
		in[at] = copied
	}
	v, err := op.Do(in...)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", op, err)
	}
	return v, nil
}
