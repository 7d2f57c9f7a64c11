package management

import (
	"context"
	"errors"
	"time"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// errUnavailable says that the broker could not be asked.
var errUnavailable = errors.New("the broker cannot be asked now")

// Broker is what management asks. Refusals are *errcode.Error.
type Broker interface {
	// Describe lists all things of a kind, or those of the names.
	Describe(ctx context.Context, kind admin.Kind, names ...string) (*admin.Description, error)
	// Do carries a command out.
	Do(ctx context.Context, cmd definitions.Command) (admin.Created, error)
	// Publish routes a batch, and tells how many queues and partitions it reached.
	Publish(ctx context.Context, head *native.Publish, sealed []byte) (queues uint32, err error)
	// Get takes what is ready in a queue, waiting for the first one, and passes a verdict on it.
	Get(ctx context.Context, queue uint64, most uint32, wait time.Duration, verdict ipc.Verdict) ([]Message, error)
}

// Message is one that was got from a queue.
type Message struct {
	Exchange    string
	Key         string
	Redelivered bool
	Headers     []ipc.Header // of the record; the private one with AMQP's properties among them
	Body        []byte
}
