package main

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

func keyFlag() cli.Flag {
	return &cli.IntFlag{Name: "shm-key-base", Aliases: []string{"key-base"}, Usage: "the broker's setting shm_key_base", EnvVars: []string{"TRIMQ_SHM_KEY_BASE"}}
}

func shmCommand() *cli.Command {
	return &cli.Command{Name: "shm", Usage: "look at a broker's shared memory on this machine", Subcommands: []*cli.Command{
		{Name: "ls", Aliases: []string{"list"}, Usage: "list the segments", Flags: []cli.Flag{keyFlag(), jsonFlag()}, Action: listSegments},
		{Name: "rm", Usage: "remove the segments of a broker that is stopped; what is in use, or not TriMQ's, stays", Flags: []cli.Flag{keyFlag()}, Action: removeSegments},
	}}
}

// segment names one of a broker's segments.
type segment struct {
	name string
	key  int
}

func segments(base int) []segment {
	request, response, log, metrics := tier.Keys(base)
	return []segment{{"requests", request}, {"responses", response}, {"log", log}, {"metrics", metrics}}
}

// segmentView is a segment as JSON.
type segmentView struct {
	Name       string    `json:"name"`
	Key        int       `json:"key"`
	ID         int       `json:"id"`
	Kind       string    `json:"kind"`
	Bytes      uint64    `json:"bytes"`
	Owner      string    `json:"owner"`
	Mode       string    `json:"mode"`
	Attached   int       `json:"attached"`
	LastPID    int       `json:"last_pid"`
	LastAttach time.Time `json:"last_attach"`
	UsedBytes  uint64    `json:"used_bytes"`
}

func listSegments(c *cli.Context) error {
	if _, err := names(c, "", 0, 0); err != nil {
		return err
	}
	t := newTable("SEGMENT", "KEY", "ID", "KIND", "BYTES", "USED", "OWNER", "MODE", "ATTACHED", "LAST PID")
	views := []segmentView{}
	for _, s := range segments(c.Int("shm-key-base")) {
		in, err := shmqueue.Stat(s.key)
		if errors.Is(err, shmqueue.ErrNoSegment) {
			continue
		}
		if err != nil {
			return err
		}
		v := segmentView{
			Name: s.name, Key: s.key, ID: in.ID, Kind: in.Kind, Bytes: in.Size, Owner: userName(in.UID),
			Mode: fmt.Sprintf("%04o", in.Mode), Attached: in.Attached, LastPID: in.LastPID, LastAttach: in.Attach.UTC(),
		}
		if in.Kind == "ring" {
			v.UsedBytes = used(s.key)
		}
		views = append(views, v)
		t.add(v.Name, v.Key, v.ID, v.Kind, v.Bytes, v.UsedBytes, v.Owner, v.Mode, v.Attached, v.LastPID)
	}
	return show(c, views, t)
}

// used is how many bytes of a ring are not released; 0 where it cannot be looked into.
func used(key int) uint64 {
	s, err := shmqueue.Inspect(key)
	if err != nil {
		return 0
	}
	defer s.Detach()
	snap := s.Ring().Snapshot()
	return snap.Used()
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

func removeSegments(c *cli.Context) error {
	if _, err := names(c, "", 0, 0); err != nil {
		return err
	}
	all := segments(c.Int("shm-key-base"))
	for _, s := range all { // all or none: a broker needs them together
		in, err := shmqueue.Stat(s.key)
		if err == nil && in.Attached > 0 {
			return fmt.Errorf("segment %s (key %d) is in use: %d attachments, the last by pid %d; stop the broker first", s.name, s.key, in.Attached, in.LastPID)
		}
	}
	var errs []error
	for _, s := range all {
		err := shmqueue.Remove(s.key)
		switch {
		case errors.Is(err, shmqueue.ErrNoSegment):
		case err != nil:
			errs = append(errs, err)
		default:
			fmt.Fprintf(c.App.Writer, "segment %s (key %d) is removed\n", s.name, s.key)
		}
	}
	return errors.Join(errs...)
}
