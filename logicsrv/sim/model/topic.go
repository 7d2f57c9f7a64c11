package model

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/protocol/topicconf"
)

// topicNamed finds a topic; nil: there is none.
func (m *Model) topicNamed(name string) *topic {
	for _, id := range sorted(m.topics) {
		if m.topics[id].name == name {
			return m.topics[id]
		}
	}
	return nil
}

// altered is the configuration that a command asks for.
func (t *topic) altered(a *admin.AlterTopic) ([]ipc.Header, error) {
	return topicconf.Apply(t.configs, a.Replace, a.Changes)
}

// topicConfigured: a topic has the configuration that was asked for.
func (m *Model) topicConfigured(e *journal.TopicConfigured) {
	t := m.topics[e.ID]
	if m.judging() {
		m.judgeConfigured(t, e.Configs)
	}
	t.configs = e.Configs
}

// judgeConfigured: persistsrv is told what each partition has to keep, where that is something else, and connsrv
// to forget what it knows of the topic.
func (m *Model) judgeConfigured(t *topic, configs []ipc.Header) {
	c, ok := m.cause.(*command)
	if !ok || c.alter == nil || c.alter.Name != t.name {
		m.cfg.Fail("topic %s gets a configuration that nobody has asked for: %+v", t.name, m.cause)
		return
	}
	if want, err := t.altered(c.alter); err != nil || !slices.Equal(want, configs) {
		m.cfg.Fail("topic %s has configuration %v and gets %v, asked for was %+v", t.name, t.configs, configs, c.alter)
	}
	was, is := topicconf.Read(t.configs), topicconf.Read(configs)
	for _, p := range t.partitions {
		told := m.op(journal.OpConfigure, p.index, func(op *journal.IndexOp) bool {
			return op.Settings.RetentionBytes == is.RetentionBytes && op.Settings.RetentionMS == is.RetentionMS
		})
		if !told && (was.RetentionBytes != is.RetentionBytes || was.RetentionMS != is.RetentionMS) {
			m.cfg.Fail("index %d of topic %s keeps what it has kept before, its topic is configured %v", p.index, t.name, configs)
		}
	}
	if !slices.ContainsFunc(m.turn.Outputs, func(o Output) bool {
		x, err := ipc.DecodeTopicChanged(o.Record)
		return o.Type == ipc.TypeTopicChanged && err == nil && x.Topic == t.name
	}) {
		m.cfg.Fail("nobody is told that topic %s has another configuration", t.name)
	}
	m.saw(RuleConfigured)
}

// op tells whether the entry of this turn has an operation on an index.
func (m *Model) op(kind journal.OpKind, index uint64, as func(*journal.IndexOp) bool) bool {
	for i := range m.turn.Entry.Ops {
		if op := &m.turn.Entry.Ops[i]; op.Kind == kind && op.Index == index && as(op) {
			return true
		}
	}
	return false
}

// recordsDeleted: partitions begin later. Queues over the topic keep what they have; what is gone is skipped
// when it would be sent.
func (m *Model) recordsDeleted(e *journal.RecordsDeleted) {
	for _, to := range e.To {
		p := m.parts[to.Index]
		if m.judging() {
			m.judgeRecordsDeleted(p, to)
		}
		p.start = max(p.start, to.Offset)
	}
}

func (m *Model) judgeRecordsDeleted(p *partition, to journal.IndexOffset) {
	c, ok := m.cause.(*command)
	switch {
	case !ok || c.records == nil || !slices.Contains(c.records.To, admin.SeekTo(to)):
		m.cfg.Fail("records below %d of index %d are deleted, asked for was %+v", to.Offset, to.Index, m.cause)
	case to.Offset > m.visibleEnd(p):
		m.cfg.Fail("records below %d of index %d are deleted, it is visible up to %d", to.Offset, to.Index, m.visibleEnd(p))
	case !m.op(journal.OpTrim, to.Index, func(op *journal.IndexOp) bool { return op.Offset == to.Offset }):
		m.cfg.Fail("records below %d of index %d are deleted, and stay", to.Offset, to.Index)
	}
	m.saw(RuleRecordsDeleted)
}

// visibleEnd is up to where the records of a partition may be read.
func (m *Model) visibleEnd(p *partition) uint64 {
	cursor := m.written
	if p.topic.level >= ipc.LevelDisk {
		cursor = m.synceds
	}
	n := len(p.records)
	for n > 0 && p.records[n-1].lsn > cursor {
		n--
	}
	return uint64(n)
}

// answeredTopic judges the answer to a command about topics.
func (m *Model) answeredTopic(c *command, o *Output, ev journal.Event, before bool) {
	code, refused := m.refused(o)
	legal := true
	switch {
	case c.records != nil && refused:
		legal = m.refusedRecords(c.records, code)
	case c.alter == nil || before:
	case refused:
		t := m.topicNamed(c.alter.Name)
		legal = t == nil && code == errcode.NotFound
	case ev.Type == journal.EvUnchanged:
		t := m.topicNamed(c.alter.Name)
		want, err := t.altered(c.alter)
		legal = err == nil && slices.Equal(want, t.configs)
	}
	if !legal {
		m.cfg.Fail("%s is answered with %v, for which there is no reason: %+v %+v", admin.Text(c.cmd), code, c.alter, c.records)
	}
}

func (m *Model) refusedRecords(d *admin.DeleteRecords, code errcode.Code) bool {
	return slices.ContainsFunc(d.To, func(to admin.SeekTo) bool {
		p := m.parts[to.Index]
		if p == nil {
			return code == errcode.UnknownIndex
		}
		m.saw(RuleBeyond)
		return code == errcode.OffsetOutOfRange && to.Offset > m.visibleEnd(p)
	})
}

// Starts are where partitions begin whose first records have been deleted, by index.
func (m *Model) Starts() map[uint64]uint64 {
	starts := map[uint64]uint64{}
	for index, p := range m.parts {
		if p.start > 0 {
			starts[index] = p.start
		}
	}
	return starts
}
