package kafkaconn

// tally waits for the answers to what one request asks about many things. An answer may come at once,
// while the rest is still being asked: so who asks counts as one that is not done.
type tally struct {
	left int
	then func()
}

// newTally begins to count: then is called once, when all that were begun are done, and who asks too.
func newTally(then func()) *tally { return &tally{left: 1, then: then} }

// begin adds one that will be done.
func (t *tally) begin() { t.left++ }

// done is one of them less.
func (t *tally) done() {
	if t.left--; t.left == 0 {
		t.then()
	}
}
