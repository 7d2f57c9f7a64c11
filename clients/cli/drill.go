package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/scripts/drill"
)

func drillCommand() *cli.Command {
	return &cli.Command{
		Name: "drill", Usage: "start a broker, do to it what may happen to one while clients work, and check what they saw",
		Description: "Kinds of faults:\n  " + strings.Join(drill.FaultKinds(), "\n  "),
		Flags: []cli.Flag{
			&cli.Uint64Flag{Name: "seed", Usage: "settings, faults and what clients do follow from it", DefaultText: "the time"},
			&cli.DurationFlag{Name: "duration", Value: 30 * time.Second, Usage: "of the faults"},
			&cli.StringFlag{Name: "load", Usage: "what clients do: `topics`, queues, kafka, amqp, ktxn or kcompact", DefaultText: "one after the other, as seeds go"},
			&cli.StringSliceFlag{Name: "faults", Usage: "`KINDS`, separated by commas", DefaultText: "the usual ones of the load"},
			&cli.StringFlag{Name: "dir", Usage: "`DIR`, which is empty or not there, for all that the drill makes", DefaultText: "a scratch directory"},
			&cli.BoolFlag{Name: "keep", Usage: "keep the directory of a good run too"},
			&cli.StringFlag{Name: "report", Usage: "write the report of a good run to `FILE` too"},
			&cli.StringFlag{Name: "record", Usage: "append a line of a table to `FILE` for each run"},
			&cli.IntFlag{Name: "runs", Value: 1, Usage: "so many drills, with one seed after the other"},
			&cli.StringFlag{Name: "bin", Usage: "`DIR` of the broker's programs", DefaultText: "that of this one"},
			&cli.StringFlag{Name: "break", Hidden: true, Usage: "the `RULE` that programs built with failpoints break on purpose"},
		},
		Action: runDrills,
		Subcommands: []*cli.Command{
			{Name: "check", ArgsUsage: "DIR", Usage: "judge the history of a drill again", Action: checkDrill},
			// What a drill starts itself, to kill it.
			{Name: "client", Hidden: true, Usage: "work at a broker until standard input ends, and print the history", Flags: []cli.Flag{
				&cli.StringFlag{Name: "name"}, &cli.StringFlag{Name: "role"}, &cli.Uint64Flag{Name: "seed"}, &cli.Int64Flag{Name: "began"},
			}, Action: drillClient},
		},
	}
}

// runDrills does as many as it was told to, and stops at the first that is not good.
func runDrills(c *cli.Context) error {
	if _, err := names(c, "", 0, 0); err != nil {
		return err
	}
	seed := c.Uint64("seed")
	if !c.IsSet("seed") {
		seed = uint64(time.Now().UnixNano() % 1_000_000_000)
	}
	for i := range uint64(c.Int("runs")) {
		if err := runDrill(c, seed+i); err != nil {
			return err
		}
	}
	return nil
}

func runDrill(c *cli.Context, seed uint64) error {
	out := c.App.Writer
	o := drill.Options{
		Seed: seed, Duration: c.Duration("duration"), Load: c.String("load"), Faults: c.StringSlice("faults"),
		Log: func(text string) { fmt.Fprintln(out, text) },
	}
	if o.Load == "" {
		o.Load = drill.Loads[seed%uint64(len(drill.Loads))]
	}
	if rule := c.String("break"); rule != "" {
		o.Env = []string{drill.BreakVariable + "=" + rule}
	}
	var err error
	if o.Bin, err = programs(c.String("bin")); err != nil {
		return err
	}
	if o.Dir, err = drillDir(c.String("dir")); err != nil {
		return err
	}
	fmt.Fprintf(out, "seed %d, %v, %s, in %s\n", seed, o.Duration, o.Load, o.Dir)
	r, err := drill.Run(c.Context, o)
	if err != nil && os.Remove(o.Dir) == nil { // nothing had begun
		return err
	}
	if err != nil {
		return fmt.Errorf("%s; what there is of the drill is in %s", strings.TrimSpace(err.Error()), o.Dir)
	}
	return concludeDrill(c, o, r)
}

// concludeDrill prints the verdict, writes what is to be written, and removes what nobody needs.
func concludeDrill(c *cli.Context, o drill.Options, r *drill.Result) error {
	out := c.App.Writer
	r.WriteTable(out)
	good := len(r.Wrong) == 0
	keep := c.Bool("keep") || !good
	if path := c.String("record"); path != "" {
		if err := appendLine(path, r.Row()); err != nil {
			return err
		}
	}
	reports := []string{c.String("report")}
	if keep {
		reports = append(reports, filepath.Join(o.Dir, "report.html"))
	}
	for _, path := range slices.DeleteFunc(reports, func(s string) bool { return s == "" }) {
		if err := writeReport(path, r); err != nil {
			return err
		}
		fmt.Fprintf(out, "report: %s\n", path)
	}
	if !keep {
		fmt.Fprintf(out, "seed %d: good\n", o.Seed)
		return os.RemoveAll(o.Dir)
	}
	fmt.Fprintf(out, "kept: %s\nagain: %s\n", o.Dir, r.Again())
	if good {
		fmt.Fprintf(out, "seed %d: good\n", o.Seed)
		return nil
	}
	return violations(out, r.Wrong)
}

// violations prints what is wrong and is the error that says so.
func violations(out io.Writer, wrong []string) error {
	for _, w := range wrong {
		fmt.Fprintln(out, "VIOLATION:", w)
	}
	return fmt.Errorf("%d violations", len(wrong))
}

func checkDrill(c *cli.Context) error {
	dir, err := names(c, "the directory of a drill", 1, 1)
	if err != nil {
		return err
	}
	r, err := drill.Judge(dir[0])
	if err != nil {
		return err
	}
	r.WriteTable(c.App.Writer)
	if len(r.Wrong) > 0 {
		return violations(c.App.Writer, r.Wrong)
	}
	_, err = fmt.Fprintln(c.App.Writer, "good")
	return err
}

func drillClient(c *cli.Context) error {
	ctx, stop := context.WithCancel(c.Context)
	defer stop()
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, c.App.Reader)
		stop()
	}()
	addrs := c.StringSlice("addr")
	if len(addrs) != 1 {
		return badUsage("a client of a drill works at one broker: --addr HOST:PORT")
	}
	return drill.Client(ctx, addrs[0], c.String("name"), c.String("role"), c.Uint64("seed"), time.Unix(0, c.Int64("began")), nopCloser{c.App.Writer})
}

// nopCloser is a writer that somebody else closes.
type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// programs is the directory of the broker's programs: the one that was named, or this program's.
func programs(named string) (string, error) {
	if named != "" {
		return filepath.Abs(named)
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	bin := filepath.Dir(self)
	if _, err := os.Stat(filepath.Join(bin, "mq_server")); err != nil {
		return "", fmt.Errorf("the broker's programs are not in %s: name their directory with --bin", bin)
	}
	return bin, nil
}

// drillDir makes the directory of a run.
func drillDir(named string) (string, error) {
	if named == "" {
		return os.MkdirTemp("", "trimq-drill-")
	}
	dir, err := filepath.Abs(named)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", err
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		return "", errors.Join(err, fmt.Errorf("%s is not empty: a drill wants a directory of its own", dir))
	}
	return dir, nil
}

func appendLine(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, text)
	return errors.Join(err, f.Close())
}

func writeReport(path string, r *drill.Result) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(r.WriteHTML(f), f.Close())
}
