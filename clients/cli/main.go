// Command trimq administers a TriMQ broker, publishes and consumes lines of text, and
// inspects a broker's log and shared memory.
//
// Exit codes: 0 success, 1 the broker refused or something was found to be wrong, 2 wrong
// usage, 3 no broker was reached.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/shmqueue/tier"
)

const (
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3

	defaultAddr    = "127.0.0.1:7420"
	defaultTimeout = 5 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run is the program but for its process.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := newApp(stdin, stdout, stderr)
	args, err := arrange(app, args)
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "trimq:", strings.TrimPrefix(err.Error(), "trimq: "))
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, trimq.ErrUnreachable):
		return exitUnreachable
	}
	return exitFailed
}

// usageError is a mistake in the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func badUsage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

func newApp(stdin io.Reader, stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:            "trimq",
		Usage:           "administer a TriMQ broker, publish to it and consume from it",
		Reader:          stdin,
		Writer:          stdout,
		ErrWriter:       stderr,
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {},
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return badUsage("%v", err) },
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "addr", Usage: "broker `HOST:PORT`, several separated by commas", EnvVars: []string{"TRIMQ_ADDR"}, DefaultText: defaultAddr},
			&cli.StringFlag{Name: "secret-file", Usage: "`FILE` whose first line is the broker's secret", EnvVars: []string{"TRIMQ_SECRET_FILE"}},
			&cli.DurationFlag{Name: "timeout", Usage: "for reaching the broker and for each answer", Value: defaultTimeout, EnvVars: []string{"TRIMQ_TIMEOUT"}},
		},
		Commands: []*cli.Command{
			topicCommand(), exchangeCommand(), queueCommand(), bindingCommand(), groupCommand(), consumerCommand(), txnCommand(), txnalCommand(),
			userCommand(), vhostCommand(), permissionCommand(), policyCommand(), importCommand(),
			publishCommand(), consumeCommand(), traceCommand(), logCommand(), stateCommand(), statCommand(), shmCommand(), drillCommand(),
			{Name: "ping", Usage: "measure round trips to the broker", Flags: []cli.Flag{
				&cli.IntFlag{Name: "count", Value: 3, Usage: "how many"},
			}, Action: ping},
			{Name: "version", Usage: "print the version", Action: func(c *cli.Context) error {
				_, err := fmt.Fprintln(c.App.Writer, "trimq", tier.Version, tier.Commit, runtime.Version())
				return err
			}},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return badUsage("there is no command %q; see trimq --help", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, cmd := range app.Commands {
		harden(cmd)
	}
	return app
}

// harden makes a group of commands refuse a word that is none of them.
func harden(cmd *cli.Command) {
	cmd.HideHelpCommand = true
	cmd.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return badUsage("%v", err) }
	if len(cmd.Subcommands) == 0 {
		return
	}
	for _, sub := range cmd.Subcommands {
		harden(sub)
	}
	if cmd.Action != nil {
		return // it does something itself, and looks at its arguments
	}
	name := cmd.Name
	cmd.Action = func(c *cli.Context) error {
		if c.Args().Present() {
			return badUsage("there is no command %q; see trimq %s --help", name+" "+c.Args().First(), name)
		}
		return cli.ShowSubcommandHelp(c)
	}
}

// connect makes a client, which begins to reach the broker.
func connect(c *cli.Context) (*trimq.Client, error) {
	addrs := c.StringSlice("addr")
	if len(addrs) == 0 {
		addrs = []string{defaultAddr}
	}
	opts := []trimq.Option{trimq.WithName("trimq-cli"), trimq.WithDialTimeout(c.Duration("timeout"))}
	if path := c.String("secret-file"); path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		secret, _, _ := strings.Cut(string(text), "\n")
		opts = append(opts, trimq.WithSecret(strings.TrimRight(secret, "\r")))
	}
	return trimq.NewClient(addrs, opts...)
}

// reach waits until the broker answers, within the time-out.
func reach(c *cli.Context, client *trimq.Client) error {
	ctx, cancel := limit(c)
	defer cancel()
	_, err := client.Ping(ctx)
	return err
}

// limit is the context of one answer.
func limit(c *cli.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.Context, c.Duration("timeout"))
}

// withClient runs an action that needs a broker for one or a few answers.
func withClient(do func(ctx context.Context, c *cli.Context, client *trimq.Client) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		client, err := connect(c)
		if err != nil {
			return err
		}
		ctx, cancel := limit(c)
		defer cancel()
		defer client.Close(ctx)
		return do(ctx, c, client)
	}
}

// names are the arguments, at least and at most so many (-1: any number).
func names(c *cli.Context, what string, least, most int) ([]string, error) {
	n := c.NArg()
	if n < least {
		return nil, badUsage("%s is missing; see %s --help", what, c.Command.HelpName)
	}
	if most >= 0 && n > most {
		return nil, badUsage("unexpected argument %q; see %s --help", c.Args().Get(most), c.Command.HelpName)
	}
	return c.Args().Slice(), nil
}

func ping(c *cli.Context) error {
	if _, err := names(c, "", 0, 0); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close(c.Context)
	for i := range c.Int("count") {
		if i > 0 {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-c.Context.Done():
				return c.Context.Err()
			}
		}
		ctx, cancel := limit(c)
		rtt, err := client.Ping(ctx)
		cancel()
		if err != nil {
			return err
		}
		fmt.Fprintln(c.App.Writer, rtt.Round(time.Microsecond))
	}
	return nil
}
