package core

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// How a command is decided. decideAdmin finds the function for the command's number; change
// decodes the body, lets that function look at the state, and answers. The function either
// appends exactly one event (with the index operations that persistsrv needs) and returns the
// answer, or returns why not, which becomes the event Rejected. So each command leaves one event
// whatever happens, and the answer can be made again from it.
//
// All commands wait for the disk: they are rare, and a client that was told of a queue must
// find it after a power cut.

// refused is why a command is not carried out; nil: it is.
type refused = *errcode.Error

// decideAdmin carries out a command. Creating what exists already with equal properties
// succeeds and says so; with others it is refused.
func (c *Core) decideAdmin() {
	m, err := ipc.DecodeAdmin(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	decide := c.command(admin.Command(m.Command))
	if decide == nil {
		c.refuse(m.Head, errcode.UnsupportedCommand, admin.Text(admin.Command(m.Command))+" is no command of this broker")
		return
	}
	decide(m)
}

// command is the function that decides a command.
func (c *Core) command(cmd admin.Command) func(ipc.Admin) {
	switch cmd {
	case admin.CmdCreateExchange:
		return func(m ipc.Admin) { change(c, m, admin.DecodeCreateExchange, c.createExchange) }
	case admin.CmdDeleteExchange:
		return func(m ipc.Admin) { change(c, m, admin.DecodeDelete, c.deleteExchange) }
	case admin.CmdCreateQueue:
		return func(m ipc.Admin) { change(c, m, admin.DecodeCreateQueue, c.createQueue) }
	case admin.CmdDeleteQueue:
		return func(m ipc.Admin) { change(c, m, admin.DecodeDelete, c.deleteQueue) }
	case admin.CmdCreateBinding:
		return func(m ipc.Admin) { change(c, m, admin.DecodeCreateBinding, c.createBinding) }
	case admin.CmdDeleteBinding:
		return func(m ipc.Admin) { change(c, m, admin.DecodeCreateBinding, c.deleteBinding) }
	case admin.CmdCreateTopic:
		return func(m ipc.Admin) { change(c, m, admin.DecodeCreateTopic, c.createTopic) }
	case admin.CmdDeleteTopic:
		return func(m ipc.Admin) { change(c, m, admin.DecodeDelete, c.deleteTopic) }
	case admin.CmdAddPartitions:
		return func(m ipc.Admin) { change(c, m, admin.DecodeAddPartitions, c.addPartitions) }
	case admin.CmdAlterTopic:
		return func(m ipc.Admin) { change(c, m, admin.DecodeAlterTopic, c.alterTopic) }
	case admin.CmdDeleteRecords:
		return func(m ipc.Admin) { change(c, m, admin.DecodeDeleteRecords, c.deleteRecords) }
	case admin.CmdPurge:
		return func(m ipc.Admin) { change(c, m, admin.DecodePurge, c.purgeQueue) }
	case admin.CmdSeek:
		return func(m ipc.Admin) { change(c, m, admin.DecodeSeek, c.seekQueue) }
	case admin.CmdDescribe:
		return c.decideDescribe
	case admin.CmdDefine:
		return func(m ipc.Admin) { change(c, m, admin.DecodeDefinition, c.define) }
	case admin.CmdUndefine:
		return func(m ipc.Admin) { change(c, m, admin.DecodeDefinition, c.undefine) }
	case admin.CmdAbortTxnal:
		return func(m ipc.Admin) { change(c, m, admin.DecodeDelete, c.abortTxnal) }
	case admin.CmdDeleteGroup:
		return func(m ipc.Admin) { change(c, m, admin.DecodeDelete, c.deleteGroup) }
	case admin.CmdResetOffsets:
		return func(m ipc.Admin) { change(c, m, admin.DecodeResetOffsets, c.resetOffsets) }
	case admin.CmdSetGroup:
		return func(m ipc.Admin) { change(c, m, admin.DecodeSetGroup, c.setGroup) }
	case admin.CmdDeleteOffsets:
		return func(m ipc.Admin) { change(c, m, admin.DecodeDeleteOffsets, c.deleteOffsets) }
	}
	return nil
}

// change decides a command that changes hard state: decide appends the event, and says with
// what it is answered, or why it is refused. All of them wait for the disk.
func change[T any](c *Core, m ipc.Admin, decode func([]byte) (T, error), decide func(*T) (admin.Created, refused)) {
	cmd, err := decode(m.Body)
	if err != nil {
		c.malformed()
		return
	}
	c.asking = m.Head
	made, no := decide(&cmd)
	if no != nil {
		c.reject(m.Head, no.Code, no.Text)
		return
	}
	c.answerCreated(m.Head, m.Command, made, c.ownGate(ipc.LevelDisk))
}

// answerCreated answers all commands but describe.
func (c *Core) answerCreated(h ipc.Head, command uint16, made admin.Created, g gate) {
	if h.Req == 0 {
		return
	}
	c.scratch = made.Append(c.scratch[:0])
	reply := ipc.AdminReply{Head: h, Command: command, Body: c.scratch}
	c.turn.sent(g, ipc.TypeAdminReply, reply.Append(c.turn.recs))
}

// unchanged answers that what was asked for is so already.
func (c *Core) unchanged(index uint64) (admin.Created, refused) {
	c.decided(&journal.Unchanged{Pos: c.in.Pos, Index: index})
	return admin.Created{Index: index, Existed: true}, nil
}

// decided takes a command's event over. The level comes first: what follows from the event
// for others, the end of their waits, is gated by it.
func (c *Core) decided(ev interface{ Append([]byte) []byte }) {
	c.turn.raise(ipc.LevelDisk)
	c.turn.events = ev.Append(c.turn.events)
}

// op tells persistsrv about an index. How it is compacted takes two ops more.
func (c *Core) op(kind journal.OpKind, settings ipc.IndexSettings) {
	compaction := settings.Compaction
	settings.Compaction = ipc.Compaction{}
	c.turn.ops = append(c.turn.ops, journal.IndexOp{Kind: kind, Index: settings.Index, Settings: settings})
	if !compaction.On {
		return
	}
	half := ipc.IndexSettings{Index: settings.Index, Compaction: compaction}
	for _, kind := range []journal.OpKind{journal.OpCompact, journal.OpClosing} {
		c.turn.ops = append(c.turn.ops, journal.IndexOp{Kind: kind, Index: settings.Index, Settings: half})
	}
}

// levelOr resolves the level of a new topic or queue.
func levelOr(level, otherwise ipc.Level) (ipc.Level, refused) {
	switch {
	case level == ipc.LevelUnset:
		return otherwise, nil
	case level > ipc.LevelDisk:
		return 0, errcode.New(errcode.InvalidArgument, "level quorum needs a cluster; this broker stands alone")
	}
	return level, nil
}

// checked turns the result of a check into a refusal.
func checked(code errcode.Code, text string) refused {
	if code == errcode.OK {
		return nil
	}
	return &errcode.Error{Code: code, Text: text}
}
