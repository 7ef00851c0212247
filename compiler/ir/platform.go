package ir

import "math"

// UnlimitedBytes stands for a memory without a limit.
const UnlimitedBytes int64 = math.MaxInt64

// Platform is the hardware: devices with host memory, the processors in them,
// and directed links between devices. Read-only once it is built.
type Platform struct {
	Devices    []Device    // by DeviceID
	Processors []Processor // by ProcID
	Links      []Link      // by LinkID
	Source     DeviceID    // where graph inputs are at time 0; NoDevice: everywhere
	Sink       DeviceID    // where graph outputs must arrive; NoDevice: they stay where they are made
}

// Device is a machine with host memory that its processors share.
type Device struct {
	Name        string
	MemoryBytes int64 // limit over all its processors; UnlimitedBytes if none
}

// Processor is a target of placement.
type Processor struct {
	Name         string
	Device       DeviceID
	MemoryBytes  int64 // own limit; UnlimitedBytes if none
	Launch       Time  // per sub-model run
	MaxSubmodels int   // DefaultSubmodels: as Problem.Submodels says; 0: unlimited
	Upload       *Copy // host memory → processor; nil where it works in host memory
	Download     *Copy // processor → host memory; nil where it works in host memory

	Kind     string // cpu, gpu, npu, dsp, tpu; "" if unknown (informative)
	Provider string // runtime's execution provider; copied into the manifest
}

// DefaultSubmodels as Processor.MaxSubmodels defers to Problem.Submodels.
const DefaultSubmodels = -1

// Copy is a way for bytes: it takes Latency plus bytes/BytesPerUs.
type Copy struct {
	Latency    Time
	BytesPerUs float64 // > 0
}

// Busy is the time that size bytes occupy the way: bytes/bandwidth, rounded to the picosecond.
func (c Copy) Busy(size int64) Time { return Micros(float64(size) / c.BytesPerUs) }

// Time is Latency plus Busy.
func (c Copy) Time(size int64) Time { return c.Latency + c.Busy(size) }

// Link is a directed channel between two devices. Links of one medium (not "")
// share it: one transfer at a time in all of them.
type Link struct {
	From, To DeviceID
	Copy
	Medium string
}

// Channels maps each link to the channel that serves it and names the channels,
// in order of first appearance: a medium by its name, a link of its own as "from->to".
func (p *Platform) Channels() (byLink []ChannelID, names []string) {
	media := map[string]ChannelID{}
	byLink = make([]ChannelID, len(p.Links))
	for i, l := range p.Links {
		if l.Medium != "" {
			if c, ok := media[l.Medium]; ok {
				byLink[i] = c
				continue
			}
			media[l.Medium] = ChannelID(len(names))
		}
		byLink[i] = ChannelID(len(names))
		name := l.Medium
		if name == "" {
			name = p.Devices[l.From].Name + "->" + p.Devices[l.To].Name
		}
		names = append(names, name)
	}
	return byLink, names
}
