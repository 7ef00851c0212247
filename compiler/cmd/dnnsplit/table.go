package main

import (
	"strings"
)

// gutter separates the columns of a table.
const gutter = 2

// leastText is how far a column of text is shortened on a narrow terminal.
const leastText = 10

// table prints rows in aligned columns; columns whose cells all look like numbers
// are aligned to the right. On a terminal that is too narrow the widest columns of
// text are shortened, and where that is not enough each row becomes a paragraph.
// Where standard output is no terminal nothing is shortened.
func (u *ui) table(header []string, rows [][]string) { u.tableOf(header, rows, nil) }

// tableOf is table with a style for each row; style may be nil.
func (u *ui) tableOf(header []string, rows [][]string, style func(row []string) string) {
	width := make([]int, len(header))
	right := make([]bool, len(header))
	cells := make([][]string, len(rows))
	for c, h := range header {
		width[c] = textWidth(h)
		right[c] = len(rows) > 0
	}
	for i, r := range rows {
		cells[i] = make([]string, len(header))
		for c := range header {
			cells[i][c] = printable(r[c])
			width[c] = max(width[c], textWidth(cells[i][c]))
			right[c] = right[c] && looksNumeric(cells[i][c])
		}
	}
	if u.outWidth > 0 && !shorten(width, header, right, u.outWidth) {
		u.paragraphs(header, cells)
		return
	}
	line := func(row []string, style string) {
		var b strings.Builder
		for c, cell := range row {
			cell = clip(cell, width[c])
			pad := strings.Repeat(" ", width[c]-textWidth(cell))
			if right[c] {
				b.WriteString(pad + cell)
			} else {
				b.WriteString(cell + pad)
			}
			b.WriteString(strings.Repeat(" ", gutter))
		}
		u.printf("%s\n", u.styled(style, strings.TrimRight(b.String(), " ")))
	}
	if strings.Join(header, "") != "" {
		line(header, bold)
	}
	for i, r := range cells {
		look := ""
		if style != nil {
			look = style(rows[i])
		}
		line(r, look)
	}
}

func looksNumeric(cell string) bool {
	switch {
	case cell == "" || cell == "-" || cell == "=":
		return true
	case cell[0] == '+' || cell[0] == '-':
		cell = cell[1:]
	}
	return cell != "" && cell[0] >= '0' && cell[0] <= '9'
}

// shorten takes width from the widest columns of text until the table fits into
// most columns, and reports whether it does.
func shorten(width []int, header []string, right []bool, most int) bool {
	total := -gutter
	for _, w := range width {
		total += w + gutter
	}
	for total > most {
		widest := -1
		for c, w := range width {
			if !right[c] && w > max(leastText, textWidth(header[c])) && (widest < 0 || w > width[widest]) {
				widest = c
			}
		}
		if widest < 0 {
			return false
		}
		width[widest]--
		total--
	}
	return true
}

// paragraphs prints each row as its first cell and, below, a line for each other
// cell that holds something.
func (u *ui) paragraphs(header []string, rows [][]string) {
	width := 0
	for _, h := range header[1:] {
		width = max(width, textWidth(h))
	}
	for _, r := range rows {
		u.printf("%s\n", u.styled(bold, clip(r[0], u.outWidth)))
		for c := 1; c < len(r); c++ {
			if r[c] == "" {
				continue
			}
			label := header[c] + strings.Repeat(" ", width-textWidth(header[c]))
			u.printf("  %s  %s\n", label, clip(r[c], max(1, u.outWidth-width-4)))
		}
	}
}

// textWidth is how many columns a text takes: East Asian wide characters take two
// (Unicode Standard Annex 11, the blocks that are wide throughout), marks that
// combine with the character before them none.
func textWidth(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case r <= 0x36f, r >= 0x200b && r <= 0x200d, r >= 0xfe00 && r <= 0xfe0f:
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0x303e, r >= 0x3041 && r <= 0xa4cf,
		r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f,
		r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff,
		r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// clip shortens a text to some columns, with an ellipsis in place of what is lost.
func clip(s string, width int) string {
	if textWidth(s) <= width {
		return s
	}
	n := 0
	for i, r := range s {
		if n += runeWidth(r); n > width-1 {
			return s[:i] + "…"
		}
	}
	return s
}
