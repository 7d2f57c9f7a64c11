package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange lets flags stand anywhere: `topic create orders --partitions 3` as well as with the
// flags first, and flags of the whole program behind a command's words. The flag package
// wants each command's flags right behind its name.
func arrange(app *cli.App, args []string) ([]string, error) {
	out := args[:1:1]
	var global, local, words []string
	level, commands := app.Flags, app.Commands
	var path []string
	rest := args[1:]
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		switch {
		case arg == "--":
			words = append(words, rest...)
			rest = nil
		case len(arg) > 1 && arg[0] == '-':
			name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			own := lookup(level, name)
			flag := own
			if flag == nil {
				flag = lookup(app.Flags, name)
			}
			piece := []string{arg}
			if flag != nil && !hasValue && takesValue(flag) {
				if len(rest) == 0 {
					return nil, badUsage("--%s wants a value", name)
				}
				piece = append(piece, rest[0])
				rest = rest[1:]
			}
			if own == nil && flag != nil || len(path) == 0 {
				global = append(global, piece...)
			} else {
				local = append(local, piece...)
			}
		default:
			if cmd := find(commands, arg); cmd != nil && len(words) == 0 {
				path = append(path, arg)
				level, commands = cmd.Flags, cmd.Subcommands
				continue
			}
			words = append(words, arg)
		}
	}
	out = append(append(append(out, global...), path...), local...)
	if len(words) > 0 {
		out = append(append(out, "--"), words...)
	}
	return out, nil
}

func find(commands []*cli.Command, name string) *cli.Command {
	if i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(name) }); i >= 0 {
		return commands[i]
	}
	return nil
}

func lookup(flags []cli.Flag, name string) cli.Flag {
	if i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) }); i >= 0 {
		return flags[i]
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}
