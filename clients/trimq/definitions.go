package trimq

import (
	"context"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
	"github.com/trimq/trimq/protocol/native"
)

// Definition is what is defined besides queues, exchanges, topics and bindings: a vhost, a user, what it
// may do, a policy, a limit, a parameter.
type Definition = admin.Definition

// Definitions lists all that is defined, in order of kind, vhost and name.
func (c *Client) Definitions(ctx context.Context) ([]Definition, error) {
	var all []Definition
	err := c.describe(ctx, admin.KindDefinition, nil, func(d *admin.Description) (string, int) {
		all = append(all, d.Definitions...)
		return lastName(d.Definitions, func(d *Definition) string { return d.Identity() })
	})
	return all, err
}

// Carry carries a command of package definitions out. It tells whether all was so before: what is made
// again as it is, is no error.
func (c *Client) Carry(ctx context.Context, cmd definitions.Command) (existed bool, err error) {
	made, err := request(ctx, c, native.Command(cmd.Command), cmd.Body, admin.DecodeCreated)
	return made.Existed, err
}
