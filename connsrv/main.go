// Connsrv is the tier of TriMQ that owns the sockets: it speaks the protocols, and passes
// what they ask for to logicsrv through shared memory. See ARCHITECTURE.md.
//
// It holds no hard state. If it dies its connections die with it; what clients had no
// answer for they send again, and what consumers held goes back to its queue. Upgraded by signal 12 it
// keeps them.
package main

import (
	"context"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/trimq/trimq/connsrv/adminhttp"
	"github.com/trimq/trimq/connsrv/connview"
	"github.com/trimq/trimq/connsrv/exporter"
	"github.com/trimq/trimq/connsrv/management"
	"github.com/trimq/trimq/connsrv/server"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

func main() { os.Exit(tier.Main("connsrv", run, server.Check)) }

func run(ctx context.Context, p *tier.Process) error {
	memory, err := p.Attach()
	if err != nil {
		return err
	}
	cluster, err := tier.BrokerID(p.Config)
	if err != nil {
		return err
	}
	s, err := server.New(server.Options{
		Config: p.Config, Requests: memory.Request.Ring(), Responses: memory.Response.Ring(),
		Metrics: memory.Metrics, Log: p.Log, Cluster: cluster,
		Legacy: p.Legacy(), CloseStray: p.CloseStray, Replace: p.Replace, Refuse: p.Refuse,
	})
	if err != nil {
		return err
	}
	p.OnReload(s.Reload)
	p.OnState(s.WriteState)
	p.OnHandOver(s.HandOver)
	link := management.NewLink(s.LinkAddress, s.Secret())
	defer link.Close()
	follow := sync.WaitGroup{}
	defer follow.Wait()
	following, stop := context.WithCancel(ctx)
	defer stop()
	if p.Config.AdminListen != "" || p.Config.AMQPListen != "" {
		follow.Go(func() { s.FollowDefinitions(following, link.Definitions) })
	}
	if p.Config.AdminListen != "" {
		admin, err := adminhttp.Listen(adminhttp.Options{
			Address: p.Config.AdminListen, Metrics: memory.Metrics, Ready: s.Ready, API: api(s, link), Exporter: figures(s, link, memory.Metrics), Log: p.Log,
		})
		if err != nil && p.Legacy() < 0 {
			return err
		}
		if err != nil { // what was taken over is worth more
			p.Log.Error("no admin server", "err", err)
			return serve(ctx, s, p)
		}
		defer func() {
			closing, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if err := admin.Close(closing); err != nil {
				p.Log.Warn("closing the admin server", "err", err)
			}
		}()
	}
	return serve(ctx, s, p)
}

// api is the management API of a server.
func api(s *server.Server, link *management.Link) http.Handler {
	o := s.Management()
	o.Broker = link
	o.Connections = func() []connview.Conn { return link.Without(s.Connections()) }
	return management.New(o)
}

// figures tells the figures of a server under RabbitMQ's names.
func figures(s *server.Server, link *management.Link, metrics *shmqueue.Metrics) *exporter.Exporter {
	o := s.Management()
	return exporter.New(exporter.Options{
		Broker: link, Connections: func() []connview.Conn { return link.Without(s.Connections()) }, VHosts: s.VHosts,
		Metrics: metrics, Host: s.Host, Node: o.Node, Cluster: o.Cluster, Version: o.Version,
		Uptime:      func() time.Duration { return o.Now().Sub(o.Started) },
		ClusterName: func() string { return o.Access.Load().ClusterName(o.Cluster) },
	})
}

func serve(ctx context.Context, s *server.Server, p *tier.Process) error {
	return s.Run(ctx, func() error {
		p.Log.Info("serving", "listen", p.Config.Listen, "port", s.Port(), "admin", p.Config.AdminListen)
		return p.Ready()
	})
}
