package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	table := flag.String("table", "spec/amqp0-9-1.stripped.extended.xml", "the protocol's table")
	dir := flag.String("dir", ".", "where the files go")
	flag.Parse()
	if err := run(*table, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(table, dir string) error {
	raw, err := os.ReadFile(table)
	if err != nil {
		return err
	}
	files, err := Generate(raw)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Source, 0o644); err != nil {
			return err
		}
	}
	return nil
}
