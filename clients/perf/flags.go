package main

import (
	"time"

	"github.com/urfave/cli/v2"
)

func join(groups ...[]cli.Flag) []cli.Flag {
	var all []cli.Flag
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

// connectionFlags also sets the defaults of what a subcommand has no flags for, so that check
// finds sound values there.
func connectionFlags(s *settings) []cli.Flag {
	*s = settings{
		partitions: 1, levelName: "topic", size: minSize, producers: 1, codecName: "none", sample: 1,
		consumers: 1, commit: commitNone, rate: 1,
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "addr", Usage: "broker `HOST:PORT`, several with commas", Value: "127.0.0.1:7420", EnvVars: []string{"TRIMQ_ADDR"}, Destination: &s.addrs},
		&cli.StringFlag{Name: "secret", Usage: "shared `SECRET`, where the broker asks for one", EnvVars: []string{"TRIMQ_SECRET"}, Destination: &s.secret},
		&cli.StringFlag{Name: "topic", Usage: "topic `NAME`; made if it is not there", Value: "perf", Destination: &s.topic},
		&cli.StringFlag{Name: "run-dir", Usage: "the daemons' run `DIR`, for their CPU and memory", Value: "trimq-data/run", EnvVars: []string{"TRIMQ_RUN_DIR"}, Destination: &s.runDir},
		&cli.BoolFlag{Name: "json", Usage: "print the report as JSON", Destination: &s.json},
		&cli.StringFlag{Name: "cpuprofile", Usage: "write a CPU profile of mq_perf to `FILE`", Destination: &s.cpuProfile},
		&cli.DurationFlag{Name: "drain", Usage: "how long to wait for connections and the last acknowledgements", Value: 30 * time.Second, Destination: &s.drain},
	}
}

func sharedFlags(s *settings, count int64, duration time.Duration) []cli.Flag {
	usage := "how many messages"
	if count == 0 {
		usage = "how many messages (0: what is stored, or rate times duration)"
	}
	return []cli.Flag{
		&cli.Int64Flag{Name: "count", Usage: usage, Value: count, Destination: &s.count},
		&cli.DurationFlag{Name: "duration", Usage: "the longest time to send or receive", Value: duration, Destination: &s.duration},
	}
}

func producerFlags(s *settings) []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "partitions", Usage: "of a topic that is made", Value: 1, Destination: &s.partitions},
		&cli.IntFlag{Name: "producers", Usage: "producers, each with a connection", Value: 1, Destination: &s.producers},
		&cli.IntFlag{Name: "size", Usage: "bytes of a message", Value: 250, Destination: &s.size},
		&cli.StringFlag{Name: "level", Usage: "what acknowledgements wait for: topic, memory, page, disk", Value: "topic", Destination: &s.levelName},
		&cli.StringFlag{Name: "codec", Usage: "compression: none, zstd", Value: "none", Destination: &s.codecName},
		&cli.IntFlag{Name: "batch-bytes", Usage: "size of a full batch", Value: 256 << 10, Destination: &s.batchBytes},
		&cli.DurationFlag{Name: "linger", Usage: "how long a batch waits for company", Destination: &s.linger},
		&cli.Int64Flag{Name: "window", Usage: "bytes of messages that may be unacknowledged", Value: 8 << 20, Destination: &s.bufferBytes},
		&cli.IntFlag{Name: "sample", Usage: "time the acknowledgement of every `N`th message", Value: 64, Destination: &s.sample},
		&cli.BoolFlag{Name: "no-idempotence", Usage: "send without sequence numbers", Destination: &s.plain},
	}
}

func consumerFlags(s *settings) []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "consumers", Usage: "consumers, which share the partitions", Value: 1, Destination: &s.consumers},
		&cli.StringFlag{Name: "commit", Usage: "after each poll: sync, async, none", Value: commitSync, Destination: &s.commit},
		&cli.StringFlag{Name: "group", Usage: "`NAME` to commit under (default: one for this run)", Destination: &s.group},
		&cli.IntFlag{Name: "fetch-bytes", Usage: "bytes that one fetch asks for", Value: 1 << 20, Destination: &s.fetchBytes},
		&cli.IntFlag{Name: "read-ahead", Usage: "bytes fetched ahead of polls (default: twice fetch-bytes)", Destination: &s.readAhead},
		&cli.BoolFlag{Name: "push", Usage: "have the broker push instead of fetching", Destination: &s.push},
		&cli.DurationFlag{Name: "idle", Usage: "give up when nothing comes for so long", Value: 10 * time.Second, Destination: &s.idle},
	}
}

func rateFlags(s *settings) []cli.Flag {
	return []cli.Flag{
		&cli.Float64Flag{Name: "rate", Usage: "messages per second of all producers", Value: 10000, Destination: &s.rate},
		&cli.BoolFlag{Name: "consume", Usage: "receive the messages too", Destination: &s.consume},
	}
}
