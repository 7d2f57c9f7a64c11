package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
)

// Commands of users, vhosts, permissions and policies.

func vhostFlag() cli.Flag {
	return &cli.StringFlag{Name: "vhost", Value: admin.DefaultVHost, Usage: "the `VHOST`"}
}

func userCommand() *cli.Command {
	return &cli.Command{Name: "user", Usage: "make, list and delete users of AMQP, of Kafka and of the management API", Subcommands: []*cli.Command{
		{Name: "set", ArgsUsage: "NAME", Usage: "make a user, or give it another password and tags; the password is the first line of standard input, or of a file", Flags: []cli.Flag{
			&cli.StringFlag{Name: "password-file", Usage: "the `FILE` whose first line is the password"},
			&cli.StringFlag{Name: "tags", Usage: "administrator, monitoring, policymaker, management, several separated by commas"},
		}, Action: withClient(setUser)},
		{Name: "list", Usage: "list users", Flags: []cli.Flag{jsonFlag()}, Action: withClient(listUsers)},
		{Name: "delete", ArgsUsage: "NAME", Usage: "delete a user, with all that it may do", Action: withClient(undefine(admin.DefUser, "the user's name"))},
	}}
}

func vhostCommand() *cli.Command {
	return &cli.Command{Name: "vhost", Usage: "make, list and delete vhosts: spaces of names for AMQP's clients", Subcommands: []*cli.Command{
		{Name: "create", ArgsUsage: "NAME", Usage: "make a vhost", Flags: []cli.Flag{
			&cli.StringFlag{Name: "description", Usage: "a `TEXT` for people"},
		}, Action: withClient(createVHost)},
		{Name: "list", Usage: "list vhosts", Flags: []cli.Flag{jsonFlag()}, Action: withClient(listVHosts)},
		{Name: "delete", ArgsUsage: "NAME", Usage: "delete a vhost, with all queues and exchanges in it", Action: withClient(undefine(admin.DefVHost, "the vhost's name"))},
	}}
}

func permissionCommand() *cli.Command {
	return &cli.Command{Name: "permission", Usage: "say what users may do in a vhost", Subcommands: []*cli.Command{
		{Name: "set", ArgsUsage: "USER", Usage: "give a user permissions: patterns of names of queues and exchanges", Flags: []cli.Flag{
			vhostFlag(),
			&cli.StringFlag{Name: "configure", Usage: "what it may make and delete: a `PATTERN`; empty: nothing"},
			&cli.StringFlag{Name: "write", Usage: "what it may publish to"},
			&cli.StringFlag{Name: "read", Usage: "what it may consume from"},
		}, Action: withClient(setPermission)},
		{Name: "list", Usage: "list permissions", Flags: []cli.Flag{jsonFlag()}, Action: withClient(listPermissions)},
		{Name: "clear", ArgsUsage: "USER", Usage: "take a user's permissions in a vhost away", Flags: []cli.Flag{vhostFlag()}, Action: withClient(undefine(admin.DefPermission, "the user's name"))},
	}}
}

func policyCommand() *cli.Command {
	operator := &cli.BoolFlag{Name: "operator", Usage: "of operators: it bounds what others set"}
	return &cli.Command{Name: "policy", Usage: "give queues and exchanges settings by their names", Subcommands: []*cli.Command{
		{Name: "set", ArgsUsage: "NAME", Usage: "make or replace a policy", Flags: []cli.Flag{
			vhostFlag(), operator,
			&cli.StringFlag{Name: "pattern", Usage: "the names that it is for: a `PATTERN`", Required: true},
			&cli.StringFlag{Name: "definition", Usage: "what it sets: an object of `JSON`, such as {\"message-ttl\": 60000}", Required: true},
			&cli.StringFlag{Name: "apply-to", Value: "all", Usage: "all, queues, exchanges, classic_queues, quorum_queues or streams"},
			&cli.Int64Flag{Name: "priority", Usage: "of policies that match, the highest counts"},
		}, Action: withClient(setPolicy)},
		{Name: "list", Usage: "list policies", Flags: []cli.Flag{jsonFlag()}, Action: withClient(listPolicies)},
		{Name: "delete", ArgsUsage: "NAME", Usage: "delete a policy", Flags: []cli.Flag{vhostFlag(), operator}, Action: withClient(deletePolicy)},
	}}
}

// undefine ends a definition of a kind.
func undefine(kind admin.DefinitionKind, what string) func(context.Context, *cli.Context, *trimq.Client) error {
	return func(ctx context.Context, c *cli.Context, client *trimq.Client) error {
		args, err := names(c, what, 1, 1)
		if err != nil {
			return err
		}
		cmd := definitions.Undefine(kind, c.String("vhost"), args[0], "")
		if _, err := client.Carry(ctx, cmd); err != nil {
			return err
		}
		return said(c, false, "%s is gone", cmd.What)
	}
}

// password reads the first line of a file, or of standard input.
func password(c *cli.Context) (string, error) {
	in := io.NopCloser(c.App.Reader)
	if path := c.String("password-file"); path != "" {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		in = f
	}
	defer in.Close()
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", badUsage("the password is missing: it is the first line of standard input, or of --password-file")
	}
	return line, nil
}

func setUser(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	args, err := names(c, "the user's name", 1, 1)
	if err != nil {
		return err
	}
	secret, err := password(c)
	if err != nil {
		return err
	}
	u := definitions.User{Name: args[0], Password: &secret, Tags: definitions.ParseTags(c.String("tags"))}
	cmd, err := u.Command(salt())
	return carry(ctx, c, client, cmd, err)
}

// listed shows the definitions of some kinds in a table.
func listed[T any](ctx context.Context, c *cli.Context, client *trimq.Client, t *table, of func(*trimq.Definition) T, row func(T) []any, kinds ...admin.DefinitionKind) error {
	all, err := client.Definitions(ctx)
	if err != nil {
		return err
	}
	views := []T{}
	for i := range all {
		for _, kind := range kinds {
			if all[i].Kind == kind {
				v := of(&all[i])
				views = append(views, v)
				t.add(row(v)...)
			}
		}
	}
	return show(c, views, t)
}

func listUsers(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	return listed(ctx, c, client, newTable("USER", "TAGS"), definitions.UserOf, func(u definitions.User) []any {
		return []any{u.Name, strings.Join(u.Tags, ",")}
	}, admin.DefUser)
}

func createVHost(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	args, err := names(c, "the vhost's name", 1, 1)
	if err != nil {
		return err
	}
	v := definitions.VHost{Name: args[0], Description: c.String("description")}
	cmd, err := v.Command()
	return carry(ctx, c, client, cmd, err)
}

func listVHosts(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	return listed(ctx, c, client, newTable("VHOST", "DESCRIPTION"), definitions.VHostOf, func(v definitions.VHost) []any {
		return []any{v.Name, v.Description}
	}, admin.DefVHost)
}

func setPermission(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	args, err := names(c, "the user's name", 1, 1)
	if err != nil {
		return err
	}
	p := definitions.Permission{User: args[0], VHost: c.String("vhost"), Configure: c.String("configure"), Write: c.String("write"), Read: c.String("read")}
	cmd, err := p.Command()
	return carry(ctx, c, client, cmd, err)
}

func listPermissions(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	return listed(ctx, c, client, newTable("USER", "VHOST", "CONFIGURE", "WRITE", "READ"), definitions.PermissionOf, func(p definitions.Permission) []any {
		return []any{p.User, p.VHost, p.Configure, p.Write, p.Read}
	}, admin.DefPermission)
}

func setPolicy(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	args, err := names(c, "the policy's name", 1, 1)
	if err != nil {
		return err
	}
	p := definitions.Policy{
		VHost: c.String("vhost"), Name: args[0], Pattern: c.String("pattern"), ApplyTo: c.String("apply-to"), Priority: definitions.Number(c.Int64("priority")),
	}
	if err := definitions.Decode(strings.NewReader(c.String("definition")), &p.Definition); err != nil {
		return badUsage("--definition is no object of JSON: %v", err)
	}
	cmd, err := p.Command(c.Bool("operator"))
	return carry(ctx, c, client, cmd, err)
}

func deletePolicy(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	kind := admin.DefPolicy
	if c.Bool("operator") {
		kind = admin.DefOperatorPolicy
	}
	return undefine(kind, "the policy's name")(ctx, c, client)
}

func listPolicies(ctx context.Context, c *cli.Context, client *trimq.Client) error {
	t := newTable("VHOST", "POLICY", "APPLY TO", "PATTERN", "PRIORITY", "DEFINITION")
	return listed(ctx, c, client, t, definitions.PolicyOf, func(p definitions.Policy) []any {
		return []any{p.VHost, p.Name, p.ApplyTo, p.Pattern, p.Priority, fmt.Sprint(p.Definition)}
	}, admin.DefPolicy, admin.DefOperatorPolicy)
}
