package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/definitions"
)

func importCommand() *cli.Command {
	return &cli.Command{
		Name: "import", ArgsUsage: "FILE", Usage: "make what a RabbitMQ definitions file defines: users, vhosts, permissions, policies, queues, exchanges, bindings; - reads standard input",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "only show what would be made, and what could not"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "only show what could not be made, and the sum"},
		},
		Action: importFile,
	}
}

// salt is random bytes for what is kept of a password.
func salt() []byte {
	b := make([]byte, definitions.SaltBytes)
	_, _ = rand.Read(b) // it never fails
	return b
}

// readDefinitions reads the file that is named.
func readDefinitions(c *cli.Context) (*definitions.File, error) {
	args, err := names(c, "the definitions file", 1, 1)
	if err != nil {
		return nil, err
	}
	in := io.NopCloser(c.App.Reader)
	if args[0] != "-" {
		if in, err = os.Open(args[0]); err != nil {
			return nil, err
		}
		defer in.Close()
	}
	f, err := definitions.Read(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", args[0], err)
	}
	return f, nil
}

// importing counts what becomes of the steps of a file.
type importing struct {
	out                 io.Writer
	quiet               bool
	made, there, failed int
}

// importFile makes what a file defines, one thing after the other. What cannot be made is told, and the
// rest is made all the same; running it again does what is left.
func importFile(c *cli.Context) error {
	f, err := readDefinitions(c)
	if err != nil {
		return err
	}
	run := &importing{out: c.App.Writer, quiet: c.Bool("quiet")}
	var client *trimq.Client
	if !c.Bool("dry-run") {
		if client, err = connect(c); err != nil {
			return err
		}
		defer client.Close(c.Context)
		if err := reach(c, client); err != nil {
			return err
		}
	}
	for _, s := range f.Plan(salt) {
		run.step(c, client, &s)
	}
	verb := "made"
	if client == nil {
		verb = "to be made"
	}
	fmt.Fprintf(run.out, "%d %s, %d there already, %d failed\n", run.made, verb, run.there, run.failed)
	if run.failed > 0 {
		return fmt.Errorf("%d of %d things of the file could not be made", run.failed, run.made+run.there+run.failed)
	}
	return nil
}

// step makes one thing, or with no client only says what it is.
func (r *importing) step(c *cli.Context, client *trimq.Client, s *definitions.Step) {
	existed, err := false, s.Problem
	if err == nil && client != nil {
		ctx, cancel := limit(c)
		existed, err = client.Carry(ctx, s.Command)
		cancel()
		if err != nil {
			err = fmt.Errorf("%s: %w", s.What, err)
		}
	}
	switch {
	case err != nil:
		r.failed++
		fmt.Fprintln(r.out, "failed:", err)
	case existed:
		r.there++
		r.say(s.What + " (it was there already)")
	default:
		r.made++
		r.say(s.What)
	}
}

func (r *importing) say(text string) {
	if !r.quiet {
		fmt.Fprintln(r.out, text)
	}
}

// carry carries a command out and says what it has done.
func carry(ctx context.Context, c *cli.Context, client *trimq.Client, cmd definitions.Command, err error) error {
	if err != nil {
		return badUsage("%v", err)
	}
	existed, err := client.Carry(ctx, cmd)
	if err != nil {
		return err
	}
	return said(c, existed, "%s", cmd.What)
}
