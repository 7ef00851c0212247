package ir

// IDs are dense indices: a table "by NodeID" is a slice with one entry a node.
// The negative No… constants mean "none".
type (
	// NodeID numbers the nodes of a Graph in topological order.
	NodeID int32
	// ValueID numbers the values (graph inputs and node outputs) of a Graph.
	ValueID int32
	// WeightID numbers the stored constants that nodes hold in memory.
	WeightID int32
	// GroupID numbers sets of nodes that must share a processor.
	GroupID int32
	// DeviceID numbers the devices of a Platform.
	DeviceID int32
	// ProcID numbers the processors of a Platform.
	ProcID int32
	// LinkID numbers the directed links of a Platform.
	LinkID int32
	// ChannelID numbers what serves one transfer at a time: a link, or all links of one medium.
	ChannelID int32
)

const (
	NoNode   NodeID   = -1
	NoValue  ValueID  = -1
	NoGroup  GroupID  = -1
	NoDevice DeviceID = -1
	NoProc   ProcID   = -1
)
