package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/trimq/trimq/shmqueue/tier"
)

const usage = `usage: mq_server COMMAND [ARGUMENTS] [-config FILE] [SETTINGS]

  start                    start the broker in the background, and wait until it serves
  run                      supervise in the foreground (systemd)
  stop SIGNAL [TIER]       signal all three daemons or one: number or name as in kill
                           15, 2  drain and stop in order      9   kill
                           1      reload the configuration     10  reopen log files
                           3      write state and stacks to the log and go on
                           12     hand over to the programs on the disk, the
                                  supervisor too
  status [json]            show what runs; exit code 0: all serve, 3: not running, 1: degraded

A tier that is killed with 9 is started again; one that is stopped with 15 or 2 stays stopped
until the next start. TIER is persistsrv, logicsrv or connsrv.
`

func main() {
	if len(os.Args) < 2 || strings.TrimLeft(os.Args[1], "-") == "help" {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(tier.ExitUsage)
	}
	words, flags := splitArguments(os.Args[2:])
	c, rest, err := tier.Load("", os.Environ(), flags, os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err == nil && len(rest) > 0:
		err = fmt.Errorf("%w: unexpected argument %q after the settings", tier.ErrUsage, rest[0])
	}
	if err == nil {
		err = command(os.Args[1], words, c, flags, os.Stdout)
	}
	if err != nil {
		var code exitError
		if errors.As(err, &code) {
			os.Exit(int(code))
		}
		fmt.Fprintln(os.Stderr, "mq_server:", err)
		switch {
		case errors.Is(err, tier.ErrUsage):
			os.Exit(tier.ExitUsage)
		case errors.Is(err, tier.ErrInUse):
			os.Exit(tier.ExitInUse)
		}
		os.Exit(tier.ExitFailed)
	}
}

// exitError ends the program with a code and no further words.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// splitArguments parts the words in front from the settings behind them.
func splitArguments(args []string) (words, flags []string) {
	for i, a := range args {
		if strings.HasPrefix(a, "-") {
			return args[:i], args[i:]
		}
	}
	return args, nil
}

func command(name string, words []string, c *tier.Config, flags []string, out io.Writer) error {
	if name != "stop" && name != "status" && name != "check" && len(words) > 0 {
		return fmt.Errorf("%w: %s takes no argument %q", tier.ErrUsage, name, words[0])
	}
	switch name {
	case "start":
		return start(c, flags, out)
	case "run":
		return run(c, flags)
	case "stop":
		return stop(c, words, out)
	case "status":
		return status(c, words, out)
	case "check": // of a supervisor that is about to become this program: how it runs stands behind
		tier.Answer(supervisorName, out)
		return nil
	case "version":
		fmt.Fprintln(out, "mq_server", tier.Version, tier.Commit)
		return nil
	}
	return fmt.Errorf("%w: unknown command %q\n%s", tier.ErrUsage, name, usage)
}
