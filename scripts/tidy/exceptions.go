package tidy

// longFunctions are functions above the limit, "folder:name", each with its reason. Only
// dispatchers qualify: one switch, one short case per kind.
var longFunctions = map[string]string{}

// plainNames are names that say nothing elsewhere and are the field's word where they
// stand: a file's path, or "folder:name".
var plainNames = map[string]string{
	"protocol/native/info.go": "INFO is a command of the native protocol",
	"connsrv/server/info.go":  "answers INFO",
	"shmqueue:Info":           "what ipcs shows of a segment",
}

// starters are the files of a daemon that may start a program, each with its reason.
var starters = map[string]string{
	"logicsrv/replay/process.go": "logicsrv starts itself to make a checkpoint, see docs/decisions/005-checkpoints.md",
	"shmqueue/tier/handover.go":  "the program that is to take over shows as a child that it starts",
}
