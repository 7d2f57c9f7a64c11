package shmqueue

// CounterID is a slot in a tier's block. Ids are part of the format of the metrics segment:
// a row keeps its number for ever, new rows take new numbers.
type CounterID uint16

// Kind says how a row behaves.
type Kind uint8

const (
	KindCounter Kind = 1 // only ever grows
	KindGauge   Kind = 2 // goes up and down
)

// Row says what a slot means. Rows of the same Name differ in their Value; together
// they are one Prometheus metric with the label Label.
type Row struct {
	Name  string // as Prometheus wants it, with the unit: trimq_conn_received_bytes_total
	Help  string
	Kind  Kind
	Label string // "" : the only row of its name
	Value string // of the label
	Scale int    // what a unit in the slot is worth is 1/Scale; 0: 1. Seconds are counted in ns with 1e9
}

// Stats is the table of a tier: the rows by id. A row without a name is not in use.
func Stats(t Tier) []Row {
	switch t {
	case TierConn:
		return connStats[:]
	case TierLogic:
		return logicStats[:]
	case TierPersist:
		return persistStats[:]
	default:
		return nil
	}
}
