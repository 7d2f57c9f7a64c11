package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
)

// table prints rows in aligned columns; figures stand to the right.
type table struct {
	head []string
	rows [][]string
}

func newTable(head ...string) *table { return &table{head: head} }

func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	t.rows = append(t.rows, row)
}

func (t *table) print(w io.Writer) {
	width := make([]int, len(t.head))
	number := make([]bool, len(t.head))
	for i, h := range t.head {
		width[i], number[i] = utf8.RuneCountInString(h), len(t.rows) > 0
	}
	for _, row := range t.rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
			number[i] = number[i] && strings.Trim(cell, "0123456789.-") == ""
		}
	}
	for _, row := range append([][]string{t.head}, t.rows...) {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if number[i] {
				cell = pad + cell
			} else {
				cell += pad
			}
			if i > 0 {
				line.WriteString("  ")
			}
			line.WriteString(cell)
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// jsonFlag is an option of all commands that list or describe.
func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON instead of a table"} }

// show prints v as JSON if that was asked for, or what fill puts into a table.
func show(c *cli.Context, v any, t *table) error {
	if !c.Bool("json") {
		t.print(c.App.Writer)
		return nil
	}
	return printJSON(c.App.Writer, v)
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

var levels = map[string]trimq.Level{
	"default": trimq.LevelUnset, "memory": trimq.LevelMemory, "page": trimq.LevelPage,
	"disk": trimq.LevelDisk, "quorum": trimq.LevelQuorum,
}

func levelFlag(what string) cli.Flag {
	return &cli.StringFlag{Name: "level", Value: "default", Usage: what + ": memory, page, disk"}
}

func parseLevel(c *cli.Context) (trimq.Level, error) {
	l, ok := levels[c.String("level")]
	if !ok {
		return 0, badUsage("--level is %q; it can be memory, page or disk", c.String("level"))
	}
	return l, nil
}

func levelName(l trimq.Level) string {
	for name, v := range levels {
		if v == l {
			return name
		}
	}
	return fmt.Sprintf("level %d", l)
}

// said prints what was done, and whether it had been done before.
func said(c *cli.Context, existed bool, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if existed {
		text += " (it was there already)"
	}
	_, err := fmt.Fprintln(c.App.Writer, text)
	return err
}
