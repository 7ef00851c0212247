package diag

import "strconv"

// Count names n things in a sentence: "1 node", or "0 nodes", "2 nodes".
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
