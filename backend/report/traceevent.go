package report

import (
	"bytes"
	"encoding/json"
)

// TraceEvent is an entry of the Trace Event Format (N. Duca, D. Sinclair, "Trace
// Event Format", 2016), which Chrome and Perfetto open. Times are microseconds;
// fields stand in the order in which they are written.
type TraceEvent struct {
	Name  string   `json:"name"`
	Cat   string   `json:"cat,omitempty"`
	Phase string   `json:"ph"`
	Ts    float64  `json:"ts"`
	Dur   *float64 `json:"dur,omitempty"`
	Pid   int      `json:"pid"`
	Tid   int      `json:"tid"`
	ID    int      `json:"id,omitempty"`
	Bind  string   `json:"bp,omitempty"`
	Args  any      `json:"args,omitempty"`
}

// EncodeTrace writes a trace, one event a line, with info about all of it. Errors
// are those of encoding what info and the events' arguments hold.
func EncodeTrace(info any, events []TraceEvent) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	b.WriteString(`{"displayTimeUnit":"ms","otherData":`)
	if err := enc.Encode(info); err != nil {
		return nil, err
	}
	b.WriteString(`,"traceEvents":[` + "\n")
	for i, e := range events {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := enc.Encode(e); err != nil {
			return nil, err
		}
	}
	b.WriteString("]}\n")
	return b.Bytes(), nil
}
