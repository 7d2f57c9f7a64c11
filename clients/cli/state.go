package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/logicsrv/replay"
	"github.com/trimq/trimq/protocol/commitlog"
)

func stateCommand() *cli.Command {
	return &cli.Command{Name: "state", Usage: "show and check the checkpoints in a data directory, of a running broker or a stopped one", Subcommands: []*cli.Command{
		{
			Name: "dump", ArgsUsage: "DIR [AT]", Usage: "print the state of the core, a line for each thing; AT is an LSN, or `log` for the end of the log; without it the newest checkpoint",
			Action: dumpState,
		},
		{
			Name: "diff", ArgsUsage: "DIR FROM [TO]", Usage: "compare two states line by line: - is only in the first, + only in the second; exit code 1 says that they differ. TO is the end of the log where it is not given",
			Action: diffStates,
		},
		{Name: "verify", ArgsUsage: "DIR", Usage: "check that each checkpoint with the log behind it gives the next, and the newest the state; exit code 1 says that something is wrong", Action: verifyStates},
	}}
}

// stateText is the state at a place of the log, as text.
func stateText(fs commitlog.FS, at string) (string, error) {
	lsn := uint64(replay.End)
	switch at {
	case "log":
	case "":
		lsns, err := commitlog.ListCheckpoints(fs)
		if err != nil {
			return "", err
		}
		if len(lsns) == 0 {
			return "", errors.New("there is no checkpoint yet: give `log` for the state at the end of the log")
		}
		lsn = lsns[len(lsns)-1]
	default:
		var err error
		if lsn, err = strconv.ParseUint(at, 10, 64); err != nil || lsn == replay.End {
			return "", badUsage("%q is no LSN, and not `log`", at)
		}
	}
	c, err := replay.State(fs, lsn)
	if err != nil {
		return "", err
	}
	return string(c.Text(nil)), nil
}

// stateArgs are the data directory and the places behind it.
func stateArgs(c *cli.Context, what string, least, most int) (commitlog.FS, []string, error) {
	args, err := names(c, what, least, most)
	if err != nil {
		return nil, nil, err
	}
	fs, err := openDataDir(args[0])
	return fs, args[1:], err
}

func dumpState(c *cli.Context) error {
	fs, at, err := stateArgs(c, "the data directory", 1, 2)
	if err != nil {
		return err
	}
	text, err := stateText(fs, strings.Join(at, ""))
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(c.App.Writer, text)
	return err
}

func diffStates(c *cli.Context) error {
	fs, at, err := stateArgs(c, "the data directory, or the first state", 2, 3)
	if err != nil {
		return err
	}
	from, err := stateText(fs, at[0])
	if err != nil {
		return err
	}
	to, err := stateText(fs, append(at, "log")[1])
	if err != nil {
		return err
	}
	lines := diffLines(from, to)
	for _, line := range lines {
		fmt.Fprintln(c.App.Writer, line)
	}
	if len(lines) > 0 {
		return fmt.Errorf("the states differ in %d lines", len(lines))
	}
	return nil
}

// diffLines compares texts in which each line says where it belongs, and none stands twice: what is
// only in one of them, in the order in which it stands there, - before +.
func diffLines(from, to string) (lines []string) {
	only := func(mark, text, other string) {
		there := map[string]bool{}
		for line := range strings.Lines(other) {
			there[line] = true
		}
		for line := range strings.Lines(text) {
			if !there[line] {
				lines = append(lines, mark+strings.TrimSuffix(line, "\n"))
			}
		}
	}
	only("- ", from, to)
	only("+ ", to, from)
	return lines
}

func verifyStates(c *cli.Context) error {
	fs, _, err := stateArgs(c, "the data directory", 1, 1)
	if err != nil {
		return err
	}
	checked, err := replay.Verify(fs)
	if err != nil {
		return err
	}
	wrong := 0
	for _, x := range checked {
		if x.Wrong == nil {
			fmt.Fprintln(c.App.Writer, "ok    ", x.What)
			continue
		}
		wrong++
		fmt.Fprintf(c.App.Writer, "ERROR  %s: %v\n", x.What, x.Wrong)
	}
	if wrong > 0 {
		return fmt.Errorf("%d errors", wrong)
	}
	return nil
}
