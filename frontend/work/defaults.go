package work

import "strings"

// isDefault says whether an attribute written as value is what its absence means
// (docs/Operators.md of github.com/onnx/onnx), so that exporters that write it
// and those that do not agree.
func isDefault(op, name, value string) bool {
	switch name {
	case "group", "keepdims", "storage_order", "select_last_index", "noop_with_empty_axes", "ceil_mode", "count_include_pad", "allowzero",
		"transA", "transB", "reverse", "exclusive", "antialias", "align_corners", "fmod", "training_mode", "spatial", "batch_dims", "largest",
		"sorted", "upper", "layout", "input_forget", "linear_before_reset", "broadcast", "start", "is_causal", "interleaved", "saturate", "block_size":
		return value == scalarDefault(name)
	case "strides", "dilations":
		return all(value, "1")
	case "pads", "output_padding":
		return all(value, "0")
	case "auto_pad":
		return value == "NOTSET" || value == ""
	case "mode":
		return value == modeDefault(op)
	case "direction":
		return value == "forward" || op == "BitShift"
	case "reduction":
		return value == "none" && strings.HasPrefix(op, "Scatter")
	case "coordinate_transformation_mode":
		return value == "half_pixel"
	case "nearest_mode":
		return value == "round_prefer_floor"
	case "keep_aspect_ratio_policy":
		return value == "stretch"
	case "axis":
		return value == axisDefault(op)
	case "padding_mode":
		return value == "zeros"
	}
	return false
}

func scalarDefault(name string) string {
	switch name {
	case "group", "keepdims", "largest", "sorted", "upper", "spatial", "saturate":
		return "1"
	}
	return "0"
}

func modeDefault(op string) string {
	switch op {
	case "Pad":
		return "constant"
	case "Resize", "Upsample":
		return "nearest"
	case "DepthToSpace":
		return "DCR"
	case "RoiAlign":
		return "avg"
	}
	return ""
}

// axisDefault holds the defaults that mean the same at every rank.
func axisDefault(op string) string {
	switch op {
	case "Flatten":
		return "1"
	case "TopK", "OneHot", "LayerNormalization", "RMSNormalization", "LpNormalization", "Softmax", "LogSoftmax", "Hardmax":
		return "-1"
	}
	return ""
}

// all says whether the list is made of the one number.
func all(list, number string) bool {
	for _, x := range strings.Split(list, ",") {
		if x != number {
			return false
		}
	}
	return true
}
