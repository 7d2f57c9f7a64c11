package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

func statCommand() *cli.Command {
	return &cli.Command{Name: "stat", Usage: "show the state and the counters of a broker", Flags: []cli.Flag{
		&cli.BoolFlag{Name: "counters", Usage: "show every counter that is not zero"},
		&cli.BoolFlag{Name: "shm", Usage: "read counters and rings from shared memory on this machine, also of a broker that does not answer"},
		keyFlag(), jsonFlag(),
	}, Action: stat}
}

// statView is all of it as JSON.
type statView struct {
	UptimeSeconds float64           `json:"uptime_seconds"`
	Server        string            `json:"server"`
	Cluster       string            `json:"cluster,omitempty"`
	Node          string            `json:"node,omitempty"`
	Connections   uint32            `json:"connections"`
	Topics        uint32            `json:"topics"`
	Partitions    uint32            `json:"partitions"`
	Exchanges     uint32            `json:"exchanges"`
	Queues        uint32            `json:"queues"`
	Groups        uint32            `json:"groups"`
	Tiers         []tierView        `json:"tiers"`
	Counters      map[string]string `json:"counters,omitempty"`
	Rings         []ringView        `json:"rings,omitempty"`
}

type tierView struct {
	Name          string  `json:"name"`
	State         string  `json:"state"`
	PID           uint32  `json:"pid"`
	Epoch         uint64  `json:"epoch"`
	UptimeSeconds float64 `json:"uptime_seconds"`
}

type ringView struct {
	Name     string `json:"name"`
	Capacity uint64 `json:"capacity"`
	Used     uint64 `json:"used"`
	Head     uint64 `json:"head"`
	Tail     uint64 `json:"tail"`
	Records  uint64 `json:"records"`
	Full     uint64 `json:"full"`
	Producer int    `json:"producer_pid"`
	Consumer int    `json:"consumer_pid"`
}

var tierStates = map[native.TierState]string{
	native.TierUnknown: "unknown", native.TierRunning: "running", native.TierRestarting: "restarting",
	native.TierDiskFull: "disk full", native.TierDraining: "draining",
}

func stat(c *cli.Context) error {
	if _, err := names(c, "", 0, 0); err != nil {
		return err
	}
	var v statView
	var pairs []native.Pair
	in, err := askInfo(c)
	if err != nil && (!c.Bool("shm") || !errors.Is(err, trimq.ErrUnreachable)) {
		return err
	}
	if err == nil {
		v, pairs = viewInfo(&in), in.Pairs
	}
	if c.Bool("shm") {
		counters, rings, err := readShared(c.Int("shm-key-base"))
		if err != nil {
			return err
		}
		pairs, v.Rings = counters, rings
	}
	if c.Bool("json") {
		v.Counters = map[string]string{}
		for _, p := range pairs {
			v.Counters[p.Key] = p.Value
		}
		return printJSON(c.App.Writer, v)
	}
	if err == nil {
		printInfo(c, &v)
	} else {
		fmt.Fprintln(c.App.Writer, "the broker does not answer:", err)
	}
	printShared(c, &v, pairs)
	return nil
}

func askInfo(c *cli.Context) (trimq.BrokerInfo, error) {
	client, err := connect(c)
	if err != nil {
		return trimq.BrokerInfo{}, err
	}
	ctx, cancel := limit(c)
	defer cancel()
	defer client.Close(ctx)
	return client.Info(ctx)
}

func viewInfo(in *trimq.BrokerInfo) statView {
	v := statView{
		UptimeSeconds: float64(in.UptimeMS) / 1000, Server: in.Server, Cluster: in.Cluster, Node: in.Node,
		Connections: in.Connections, Topics: in.Topics, Partitions: in.Partitions,
		Exchanges: in.Exchanges, Queues: in.Queues, Groups: in.Groups,
	}
	for _, t := range in.Tiers {
		v.Tiers = append(v.Tiers, tierView{t.Name, tierStates[t.State], t.PID, t.Epoch, float64(t.UptimeMS) / 1000})
	}
	return v
}

func printInfo(c *cli.Context, v *statView) {
	fmt.Fprintf(c.App.Writer, "%s, up %s\n", v.Server, seconds(v.UptimeSeconds))
	fmt.Fprintf(c.App.Writer, "%d connections, %d topics with %d partitions, %d exchanges, %d queues, %d groups\n\n",
		v.Connections, v.Topics, v.Partitions, v.Exchanges, v.Queues, v.Groups)
	t := newTable("TIER", "STATE", "PID", "EPOCH", "UP")
	for _, x := range v.Tiers {
		t.add(x.Name, x.State, x.PID, x.Epoch, seconds(x.UptimeSeconds))
	}
	t.print(c.App.Writer)
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

func printShared(c *cli.Context, v *statView, pairs []native.Pair) {
	if len(v.Rings) > 0 {
		fmt.Fprintln(c.App.Writer)
		t := newTable("RING", "CAPACITY", "USED", "HEAD", "TAIL", "RECORDS", "FULL", "PRODUCER", "CONSUMER")
		for _, r := range v.Rings {
			t.add(r.Name, r.Capacity, r.Used, r.Head, r.Tail, r.Records, r.Full, r.Producer, r.Consumer)
		}
		t.print(c.App.Writer)
	}
	if !c.Bool("counters") && !c.Bool("shm") {
		return
	}
	fmt.Fprintln(c.App.Writer)
	t := newTable("COUNTER", "VALUE")
	for _, p := range pairs {
		if p.Value != "0" {
			t.add(p.Key, p.Value)
		}
	}
	t.print(c.App.Writer)
}

// readShared reads the counters of all tiers and the rings' headers.
func readShared(base int) ([]native.Pair, []ringView, error) {
	_, _, _, key := tier.Keys(base)
	m, err := shmqueue.InspectMetrics(key)
	if err != nil {
		return nil, nil, err
	}
	defer m.Detach()
	var pairs []native.Pair
	for _, t := range []shmqueue.Tier{shmqueue.TierConn, shmqueue.TierLogic, shmqueue.TierPersist} {
		for id, row := range shmqueue.Stats(t) {
			if row.Name != "" {
				pairs = append(pairs, native.Pair{Key: rowName(row), Value: rowValue(row, m.Tier(t).Load(shmqueue.CounterID(id)))})
			}
		}
	}
	var rings []ringView
	for _, s := range segments(base)[:3] {
		seg, err := shmqueue.Inspect(s.key)
		if errors.Is(err, shmqueue.ErrNoSegment) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		snap := seg.Ring().Snapshot()
		if err := seg.Detach(); err != nil {
			return nil, nil, err
		}
		rings = append(rings, ringView{
			s.name, snap.Capacity, snap.Used(), snap.Head, snap.Tail, snap.Records, snap.Full, snap.Producer.PID, snap.Consumer.PID,
		})
	}
	return pairs, rings, nil
}

func rowName(r shmqueue.Row) string {
	if r.Label == "" {
		return r.Name
	}
	return fmt.Sprintf("%s{%s=%q}", r.Name, r.Label, r.Value)
}

func rowValue(r shmqueue.Row, v uint64) string {
	if r.Scale <= 1 {
		return strconv.FormatUint(v, 10)
	}
	return strconv.FormatFloat(float64(v)/float64(r.Scale), 'g', -1, 64)
}
