package kafkaconn

import (
	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/connsrv/handover"
)

// pass goes over who the client is, and how far it has got with showing that (pass.go).
func (l *login) pass(s *handover.Codec) {
	s.String(&l.user)
	s.String(&l.by)
	handover.Int(s, &l.untilMS)
	s.String(&l.mechanism)
	s.Bool(&l.raw)
	handover.Int(s, &l.refusedMS)
	begun := l.scram != nil
	if s.Bool(&begun); !begun {
		return
	}
	if s.Reading() {
		l.scram = new(access.ScramExchange)
	}
	for _, text := range []*string{&l.scram.Mechanism, &l.scram.User, &l.scram.Binding, &l.scram.First, &l.scram.Server, &l.scram.Nonce} {
		s.String(text)
	}
}
