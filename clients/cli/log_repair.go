package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/repair"
	"github.com/trimq/trimq/protocol/commitlog"
)

func repairCommand() *cli.Command {
	return &cli.Command{
		Name: "repair", ArgsUsage: "DIR", Usage: "say what is damaged in a stopped broker's data directory, and what would be done about it; --yes does it",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "yes", Usage: "do it; what is changed is kept, as it was, below DIR/" + commitlog.BeforeRepairDir},
			&cli.BoolFlag{Name: "give-up", Usage: "where logicsrv cannot get past a damaged place, end the log there: what follows is given up, whole entries too"},
		}, Action: repairLog,
	}
}

func repairLog(c *cli.Context) error {
	if _, err := dataDir(c); err != nil {
		return err
	}
	dir := c.Args().First()
	lock, err := repair.Lock(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	for {
		plan, err := repair.Look(dir, repair.Options{GiveUp: c.Bool("give-up"), Now: time.Now()})
		if err != nil {
			return err
		}
		if again, err := repairOnce(c, plan); err != nil || !again {
			return err
		}
	}
}

// repairOnce tells a plan, and carries it out if that is wanted; again says that there is to be
// another one.
func repairOnce(c *cli.Context, plan *repair.Plan) (again bool, err error) {
	for _, f := range plan.Findings {
		printFinding(c.App.Writer, f)
	}
	for _, text := range plan.Itself {
		fmt.Fprintln(c.App.Writer, "persistsrv, at its next start, will:", text)
	}
	if !c.Bool("yes") {
		for _, s := range plan.Steps {
			fmt.Fprintln(c.App.Writer, "would:", s.What)
		}
	} else if err := doRepair(c, plan); err != nil {
		return false, err
	}
	for _, text := range plan.Left {
		fmt.Fprintln(c.App.Writer, "LEFT:", text)
	}
	switch {
	case len(plan.Left) > 0:
		return false, fmt.Errorf("%d things are left to do", len(plan.Left))
	case len(plan.Steps) == 0:
		fmt.Fprintln(c.App.Writer, "there is nothing to repair")
	case c.Bool("yes"):
		return plan.Again, nil
	case plan.Again:
		return false, fmt.Errorf("nothing was changed: --yes does this, and then looks what else there is")
	default:
		return false, fmt.Errorf("nothing was changed: --yes does these %d steps", len(plan.Steps))
	}
	return false, nil
}

// doRepair does the steps and says each.
func doRepair(c *cli.Context, plan *repair.Plan) error {
	kept, err := plan.Do(func(s repair.Step) { fmt.Fprintln(c.App.Writer, "done:", s.What) })
	if kept != "" {
		fmt.Fprintf(c.App.Writer, "what was changed is kept, as it was, in %s\n", kept)
	}
	return err
}
