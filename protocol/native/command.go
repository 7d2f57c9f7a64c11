package native

import "strconv"

// Command says what a frame is. The administrative numbers are those of package admin.
type Command uint16

// Commands. 25–29, 36–39, 48, 49 and 52–59 are free.
const (
	CmdCreateExchange Command = 1
	CmdCreateQueue    Command = 2
	CmdCreateBinding  Command = 3
	CmdPublish        Command = 4
	CmdHello          Command = 5
	CmdAuth           Command = 6
	CmdPing           Command = 7
	CmdInfo           Command = 8
	CmdProduce        Command = 10
	CmdFetch          Command = 11
	CmdListOffsets    Command = 12
	CmdInitProducer   Command = 13
	CmdCommitOffsets  Command = 14
	CmdFetchOffsets   Command = 15
	CmdDescribe       Command = 16
	CmdCreateTopic    Command = 17
	CmdDeleteTopic    Command = 18
	CmdAddPartitions  Command = 19
	CmdDeleteExchange Command = 20
	CmdDeleteQueue    Command = 21
	CmdDeleteBinding  Command = 22
	CmdPurge          Command = 23
	CmdSeek           Command = 24
	CmdAlterTopic     Command = 25
	CmdDeleteRecords  Command = 26
	CmdSubscribe      Command = 30
	CmdUnsubscribe    Command = 31
	CmdCredit         Command = 32
	CmdAck            Command = 33
	CmdPull           Command = 34
	CmdExtend         Command = 35
	CmdDeliver        Command = 40 // server to client
	CmdSubClosed      Command = 41 // server to client
	CmdGoodbye        Command = 42 // server to client
	CmdRecall         Command = 43 // server to client
	CmdBeginTxn       Command = 44
	CmdEndTxn         Command = 45
	CmdTxnMember      Command = 46
	CmdCheckTxn       Command = 47 // server to client

	CmdGroupHeartbeat Command = 50
	CmdGroupCommit    Command = 51
	CmdDeleteGroup    Command = 60
	CmdResetOffsets   Command = 61
	CmdDeleteOffsets  Command = 62
	CmdDefine         Command = 68
	CmdUndefine       Command = 69
	CmdAbortTxnal     Command = 70
)

// kind tells who sends a command and what it carries.
type kind uint8

const (
	kindRequest kind = 1 << iota
	kindServer       // the server sends it unasked
	kindAdmin
	kindBatch
)

type commandRow struct {
	name string
	kind kind
}

var commands = [...]commandRow{
	CmdCreateExchange: {"CREATE_EXCHANGE", kindRequest | kindAdmin},
	CmdCreateQueue:    {"CREATE_QUEUE", kindRequest | kindAdmin},
	CmdCreateBinding:  {"CREATE_BINDING", kindRequest | kindAdmin},
	CmdPublish:        {"PUBLISH", kindRequest | kindBatch},
	CmdHello:          {"HELLO", kindRequest},
	CmdAuth:           {"AUTH", kindRequest},
	CmdPing:           {"PING", kindRequest},
	CmdInfo:           {"INFO", kindRequest},
	CmdProduce:        {"PRODUCE", kindRequest | kindBatch},
	CmdFetch:          {"FETCH", kindRequest},
	CmdListOffsets:    {"LIST_OFFSETS", kindRequest},
	CmdInitProducer:   {"INIT_PRODUCER", kindRequest},
	CmdCommitOffsets:  {"COMMIT_OFFSETS", kindRequest},
	CmdFetchOffsets:   {"FETCH_OFFSETS", kindRequest},
	CmdDescribe:       {"DESCRIBE", kindRequest | kindAdmin},
	CmdCreateTopic:    {"CREATE_TOPIC", kindRequest | kindAdmin},
	CmdDeleteTopic:    {"DELETE_TOPIC", kindRequest | kindAdmin},
	CmdAddPartitions:  {"ADD_PARTITIONS", kindRequest | kindAdmin},
	CmdDeleteExchange: {"DELETE_EXCHANGE", kindRequest | kindAdmin},
	CmdDeleteQueue:    {"DELETE_QUEUE", kindRequest | kindAdmin},
	CmdDeleteBinding:  {"DELETE_BINDING", kindRequest | kindAdmin},
	CmdPurge:          {"PURGE", kindRequest | kindAdmin},
	CmdSeek:           {"SEEK", kindRequest | kindAdmin},
	CmdAlterTopic:     {"ALTER_TOPIC", kindRequest | kindAdmin},
	CmdDeleteRecords:  {"DELETE_RECORDS", kindRequest | kindAdmin},
	CmdSubscribe:      {"SUBSCRIBE", kindRequest},
	CmdUnsubscribe:    {"UNSUBSCRIBE", kindRequest},
	CmdCredit:         {"CREDIT", kindRequest},
	CmdAck:            {"ACK", kindRequest},
	CmdPull:           {"PULL", kindRequest},
	CmdExtend:         {"EXTEND", kindRequest},
	CmdDeliver:        {"DELIVER", kindServer | kindBatch},
	CmdSubClosed:      {"SUB_CLOSED", kindServer},
	CmdGoodbye:        {"GOODBYE", kindServer},
	CmdRecall:         {"RECALL", kindServer},
	CmdBeginTxn:       {"BEGIN_TXN", kindRequest},
	CmdEndTxn:         {"END_TXN", kindRequest},
	CmdTxnMember:      {"TXN_MEMBER", kindRequest},
	CmdCheckTxn:       {"CHECK_TXN", kindServer},
	CmdGroupHeartbeat: {"GROUP_HEARTBEAT", kindRequest},
	CmdGroupCommit:    {"GROUP_COMMIT", kindRequest},
	CmdDeleteGroup:    {"DELETE_GROUP", kindRequest | kindAdmin},
	CmdResetOffsets:   {"RESET_OFFSETS", kindRequest | kindAdmin},
	CmdDeleteOffsets:  {"DELETE_OFFSETS", kindRequest | kindAdmin},
	CmdDefine:         {"DEFINE", kindRequest | kindAdmin},
	CmdUndefine:       {"UNDEFINE", kindRequest | kindAdmin},
	CmdAbortTxnal:     {"ABORT_TRANSACTIONAL", kindRequest | kindAdmin},
}

func (c Command) is(k kind) bool { return int(c) < len(commands) && commands[c].kind&k != 0 }

// Request tells that clients may send the command.
func (c Command) Request() bool { return c.is(kindRequest) }

// ServerSent tells that the server sends the command unasked.
func (c Command) ServerSent() bool { return c.is(kindServer) }

// Admin tells that the body is package admin's.
func (c Command) Admin() bool { return c.is(kindAdmin) }

// CarriesBatch tells that a record batch ends the body of the request.
func (c Command) CarriesBatch() bool { return c.is(kindBatch) }

// String is the name in the documents.
func (c Command) String() string {
	if int(c) < len(commands) && commands[c].name != "" {
		return commands[c].name
	}
	return "command " + strconv.Itoa(int(c))
}
