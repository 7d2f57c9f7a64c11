package selector

// nodeKind is what a part of an expression is.
type nodeKind uint8

const (
	nodeWrong  nodeKind = iota // stands where an error was found
	nodeHeader                 // text: its name
	nodeKey                    // the record's key
	nodeTime                   // the record's time
	nodeNumber                 // num
	nodeString                 // text
	nodeTruth                  // truth
	nodeSign                   // of kids[0]: signs is + or -
	nodeChain                  // kids joined by signs, from left to right: + and -, or * and /
	nodeAnd
	nodeOr
	nodeNot     // of kids[0]
	nodeCompare // kids[0] rel kids[1]
	nodeBetween // kids[0] from kids[1] to kids[2]
	nodeIn      // kids[0], a header, is one of list
	nodeLike    // kids[0], a header, is like
	nodeNull    // kids[0], a header, is missing
)

// node is a part of an expression.
type node struct {
	kind  nodeKind
	at    int // bytes of the text before it
	kids  []*node
	signs []byte
	text  string
	num   number
	truth bool
	rel   relation
	list  *set
	like  *pattern
}

// class is what the value of a node may be used for.
type class uint8

const (
	classAny       class = iota // a header: what its value looks like is seen with the message
	classNumber                 // arithmetic
	classString                 // = and <>
	classCondition              // AND, OR, NOT, = and <>
)

func (n *node) class() class {
	switch n.kind {
	case nodeWrong, nodeHeader, nodeKey:
		return classAny
	case nodeNumber, nodeTime, nodeSign, nodeChain:
		return classNumber
	case nodeString:
		return classString
	}
	return classCondition
}

// isHeader tells whether the node stands for bytes of the message.
func (n *node) isHeader() bool { return n.kind == nodeHeader || n.kind == nodeKey }
