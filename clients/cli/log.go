package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/protocol/commitlog"
)

func logCommand() *cli.Command {
	return &cli.Command{Name: "log", Usage: "inspect a data directory, of a running broker or a stopped one", Subcommands: []*cli.Command{
		{Name: "dump", ArgsUsage: "DIR", Usage: "print the commit log's entries", Flags: []cli.Flag{
			&cli.Uint64Flag{Name: "from", Usage: "begin at this `LSN`"},
			&cli.IntFlag{Name: "count", Aliases: []string{"n"}, Usage: "print so many entries at most", DefaultText: "all"},
			&cli.BoolFlag{Name: "events", Usage: "print each entry's events"},
			&cli.BoolFlag{Name: "items", Usage: "print each entry's index items and bodies"},
		}, Action: dumpLog},
		{Name: "verify", ArgsUsage: "DIR", Usage: "read everything and check it; exit code 1 says that something is damaged", Action: verifyLog},
		repairCommand(),
	}}
}

// dataDir is the argument, checked to be a broker's data directory.
func dataDir(c *cli.Context) (commitlog.FS, error) {
	dir, err := names(c, "the data directory", 1, 1)
	if err != nil {
		return nil, err
	}
	return openDataDir(dir[0])
}

func openDataDir(dir string) (commitlog.FS, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	if s, err := os.Stat(filepath.Join(dir, commitlog.LogDir)); err != nil || !s.IsDir() {
		return nil, fmt.Errorf("%s is not a broker's data directory: there is no directory %s in it", dir, commitlog.LogDir)
	}
	return commitlog.DirFS(dir), nil
}

func dumpLog(c *cli.Context) error {
	fs, err := dataDir(c)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(c.App.Writer)
	err = commitlog.Dump(fs, out, commitlog.DumpOptions{
		FromLSN: c.Uint64("from"), Max: c.Int("count"), Events: c.Bool("events"), Items: c.Bool("items"),
	})
	if e := out.Flush(); err == nil {
		err = e
	}
	return err
}

func printFinding(w io.Writer, f commitlog.Finding) {
	word := "note"
	if f.Severity == commitlog.Error {
		word = "ERROR"
	}
	fmt.Fprintf(w, "%-5s  %s at %d: %s\n", word, f.File, f.Position, f.What)
}

func verifyLog(c *cli.Context) error {
	fs, err := dataDir(c)
	if err != nil {
		return err
	}
	sum, err := commitlog.Verify(fs, func(f commitlog.Finding) { printFinding(c.App.Writer, f) })
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%d segments, %d entries (LSN %d to %d), %d batches, %d bytes; %d indexes with %d entries; %d errors\n",
		sum.Segments, sum.Entries, sum.FirstLSN, sum.LastLSN, sum.Batches, sum.Bytes, sum.Indexes, sum.IndexEntries, sum.Errors)
	if sum.Errors > 0 {
		return fmt.Errorf("%d errors", sum.Errors)
	}
	return nil
}
