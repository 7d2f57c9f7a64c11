package kafkaconn

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// stubGroups is what the stub knows of groups.
type stubGroups struct {
	parked [][]byte
}

func (s *stub) takeGroup(typ ipc.Type, _ []byte) { s.tb.Errorf("a record of type %d", typ) }

func (s *stub) adminGroup(m *ipc.Admin) { s.tb.Errorf("command %d", m.Command) }

func (s *stub) describeGroups(_ *ipc.Admin, ask *admin.Describe) { s.tb.Errorf("kind %d", ask.Kind) }
