package amqpconn

import (
	"bytes"

	"github.com/trimq/trimq/protocol/amqp"
)

// credentials are what a client gives; false: by a mechanism that is not served, or not as that has it.
func credentials(m *amqp.ConnectionStartOk) (user, password string, ok bool) {
	switch string(m.Mechanism) {
	case "PLAIN": // who it acts for, NUL, user, NUL, password
		parts := bytes.SplitN(m.Response, []byte{0}, 3)
		if len(parts) != 3 {
			return "", "", false
		}
		return string(parts[1]), string(parts[2]), true
	case "AMQPLAIN": // a field table without its length
		t := amqp.Table(m.Response)
		if amqp.CheckTable(t) != nil {
			return "", "", false
		}
		name, hasName := t.Get("LOGIN")
		secret, hasSecret := t.Get("PASSWORD")
		return string(name.Raw), string(secret.Raw), hasName && hasSecret
	}
	return "", "", false
}

// abilities are the capabilities that a client names.
type abilities amqp.Table

// capabilities are those among a client's properties.
func capabilities(properties amqp.Table) abilities {
	if v, ok := properties.Get("capabilities"); ok && v.Kind == amqp.KindTable {
		return abilities(v.Raw)
	}
	return nil
}

func (a abilities) has(name string) bool {
	v, _ := amqp.Table(a).Get(name)
	is, _ := v.Bool()
	return is
}
