package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/shmqueue/tier"
)

// fault is something that is done to the broker.
type fault struct {
	name  string
	tiers []string // that die in it
	do    func(b *broker.Broker) error
}

// frozen is for how long a daemon is stopped by SIGSTOP.
const frozen = 500 * time.Millisecond

func faults() (list []fault) {
	for _, tiers := range [][]string{
		{"logicsrv"}, {"persistsrv"}, {"connsrv"}, {"logicsrv", "persistsrv"}, {"connsrv", "logicsrv"}, {"connsrv", "persistsrv"}, tier.Daemons,
	} {
		list = append(list, fault{"kill -9 of " + strings.Join(tiers, " and "), tiers, func(b *broker.Broker) error { return kill(b, tiers) }})
	}
	list[len(list)-1].name = "kill -9 of all three"
	for _, name := range []string{"logicsrv", "persistsrv", "connsrv"} {
		list = append(list, fault{fmt.Sprintf("%s stopped for %v", name, frozen), nil, func(b *broker.Broker) error {
			err := b.Signal("STOP", name)
			time.Sleep(frozen)
			return errors.Join(err, b.Signal("CONT", name))
		}})
	}
	return append(list, fault{"orderly stop and start of all", tier.Daemons, func(b *broker.Broker) error {
		return errors.Join(b.Signal("15"), b.Start())
	}})
}

func kill(b *broker.Broker, tiers []string) error {
	errs := make([]error, len(tiers))
	var all sync.WaitGroup
	for i, name := range tiers {
		all.Go(func() { errs[i] = b.Kill(name) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// keepsConnections tells whether no connection may be lost in it.
func (f fault) keepsConnections() bool { return !slices.Contains(f.tiers, "connsrv") }
