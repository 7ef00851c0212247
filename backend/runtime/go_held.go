package runtime

import "context"

// goHeld is a value that the pure-Go engine holds: the value itself.
type goHeld struct{ v *Value }

func (h goHeld) Value() (*Value, error) { return h.v, nil }
func (h goHeld) Release()               {}

func (e *goEngine) Hold(v *Value) (Held, error) {
	if err := v.Check(); err != nil {
		return nil, err
	}
	return goHeld{v}, nil
}

type goCall struct {
	ctx context.Context
	s   *goSession
}

func (s *goSession) Prepare(ctx context.Context) (Call, error) {
	return &goCall{ctx, s}, ctx.Err()
}

func (c *goCall) Run(in, out []Held) error {
	feed := make(map[string]*Value, len(in))
	for i, port := range c.s.Inputs() {
		if in[i] == nil {
			continue
		}
		v, err := in[i].Value()
		if err != nil {
			return err
		}
		feed[port.Name] = v
	}
	got, err := c.s.Run(c.ctx, feed)
	for i := range got {
		out[i] = goHeld{got[i]}
	}
	return err
}

func (c *goCall) Close() {}
