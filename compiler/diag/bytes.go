package diag

import "fmt"

// Bytes writes a size for messages. Who has to act on one wants to see how large it is
// and, where a limit is missed, by how much exactly: "300 bytes", "4 GiB" where it is
// a whole number of binary units, else "4.7 MiB (4943268 bytes)".
func Bytes(n int64) string {
	unit, name := int64(1), ""
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		if n/unit < 1024 {
			break
		}
		unit, name = unit*1024, next
	}
	switch {
	case n == 1:
		return "1 byte"
	case name == "":
		return fmt.Sprintf("%d bytes", n)
	case n%unit == 0:
		return fmt.Sprintf("%d %s", n/unit, name)
	}
	return fmt.Sprintf("%.1f %s (%d bytes)", float64(n)/float64(unit), name, n)
}
